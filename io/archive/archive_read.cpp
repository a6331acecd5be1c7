#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bitfall/archive.hpp"
#include "bitfall/errors.hpp"
#include "check.hpp"
#include "hdf5_file.hpp"
#include "layout.hpp"
#include "seal.hpp"
#include "sha256.hpp"
#include "table.hpp"

namespace bitfall {
namespace {

void require(bool condition, const std::string& what) {
  if (!condition) throw DataError(what);
}

LayerKind layer_kind(const std::string& text, const std::string& layer) {
  for (const LayerKind kind : {LayerKind::convolution, LayerKind::linear}) {
    if (text == to_string(kind)) return kind;
  }
  throw DataError("layer '" + layer + "' is of the unknown kind '" + text + "'");
}

Metric layer_metric(const std::string& text, const std::string& layer) {
  try {
    return metric_from_string(text);
  } catch (const UsageError& error) {
    throw DataError("layer '" + layer + "': " + error.what());
  }
}

void check_version(const hdf5::Reader& reader) {
  require(reader.text_attribute("magic") == layout::magic,
          "attribute 'magic' is not 'bitfall': not an archive");
  const std::int64_t major = reader.integer_attribute("version_major");
  const std::int64_t minor = reader.integer_attribute("version_minor");
  require(major <= layout::version_major, "the archive has format " + std::to_string(major) + "." +
                                              std::to_string(minor) + ", this bitfall reads format " +
                                              std::to_string(layout::version_major) +
                                              "; install a newer bitfall");
  // A newer minor version only adds datasets, columns and attributes.
  require(major == layout::version_major && minor >= 0,
          "the archive claims the impossible format " + std::to_string(major) + "." + std::to_string(minor));
}

/// Takes the next `count` elements of `data`; the table's offsets leave no gaps.
template <class T>
std::span<const T> take(std::span<const T> data, std::int64_t offset, std::int64_t expected_offset,
                        std::int64_t count, const std::string& what) {
  require(offset == expected_offset, what + " does not begin where the previous one ends");
  require(count >= 0 && std::cmp_less_equal(offset, data.size()) &&
              std::cmp_less_equal(count, data.size() - static_cast<std::size_t>(offset)),
          what + " ends beyond the stored data");
  return data.subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(count));
}

std::span<const std::uint8_t> bytes_of(std::span<const std::uint16_t> halves) {
  return {reinterpret_cast<const std::uint8_t*>(halves.data()), halves.size_bytes()};
}

/// Everything but codes, codebook and iterations.
QuantizedLayer read_layer_row(const Table& table, std::int64_t row) {
  QuantizedLayer layer;
  layer.name = table.text(row, "name");
  layer.weight_name = table.text(row, "weight_name");
  layer.kind = layer_kind(table.text(row, "kind"), layer.name);
  layer.weight_shape = table.list(row, "shape", table.integer(row, "dimensions"));
  layer.groups = table.integer(row, "groups");
  layer.d = table.integer(row, "d");
  layer.k = table.integer(row, "k");
  layer.metric = layer_metric(table.text(row, "metric"), layer.name);
  return layer;
}

std::vector<QuantizedLayer> read_layers(hdf5::Reader& reader) {
  const Table table = reader.table(layout::layers);
  const std::vector<std::uint8_t> codes = reader.bytes(layout::codes);
  const std::vector<std::uint16_t> codebooks = reader.halves(layout::codebooks);
  std::vector<QuantizedLayer> layers;
  std::int64_t codes_end = 0;
  std::int64_t codebooks_end = 0;
  for (std::int64_t row = 0; row < table.rows(); ++row) {
    QuantizedLayer layer = read_layer_row(table, row);
    const std::string what = "layer '" + layer.name + "'";
    const std::int64_t blocks = checked_blocks(layer);
    require(table.integer(row, "code_bits") == layer.code_bits(), what + " has a code width that is not k's");
    const std::int64_t codes_bytes = table.integer(row, "codes_bytes");
    const auto packed = take(std::span(codes), table.integer(row, "codes_offset"), codes_end, codes_bytes,
                             "the codes of " + what);
    // A layer with k = 1 has no bytes, so its number of blocks is bounded here.
    require(blocks <= std::int64_t{1} << 60, what + " has an impossible number of blocks");
    reader.spend(2 * blocks, what);
    layer.codes = unpack_codes(packed, blocks, layer.code_bits());
    require(layer.d <= static_cast<std::int64_t>(codebooks.size()),
            what + " has codewords longer than all codebooks");
    const auto codebook = take(std::span(codebooks), table.integer(row, "codebook_offset"), codebooks_end,
                               layer.k * layer.d, "the codebook of " + what);
    layer.codebook.assign(codebook.begin(), codebook.end());
    require(table.digest(row, "codes_sha256") == sha256(packed),
            "the codes of " + what + " do not have their SHA-256");
    require(table.digest(row, "codebook_sha256") == sha256(bytes_of(codebook)),
            "the codebook of " + what + " does not have its SHA-256");
    codes_end += codes_bytes;
    codebooks_end += layer.k * layer.d;
    layers.push_back(std::move(layer));
  }
  require(std::cmp_equal(codes.size(), codes_end) && std::cmp_equal(codebooks.size(), codebooks_end),
          "there are codes or codebooks that belong to no layer");
  return layers;
}

void read_iterations(hdf5::Reader& reader, std::vector<QuantizedLayer>& layers) {
  const Table table = reader.table(layout::iterations);
  const std::vector<float> seconds = reader.floats(layout::seconds);
  require(std::cmp_equal(seconds.size(), table.rows()), "iterations and their seconds differ in number");
  std::int64_t previous = 0;
  for (std::int64_t row = 0; row < table.rows(); ++row) {
    const std::int64_t layer = table.integer(row, "layer");
    require(layer >= previous && std::cmp_less(layer, layers.size()),
            "row " + std::to_string(row) + " of iterations belongs to no layer or is out of order");
    previous = layer;
    layers[static_cast<std::size_t>(layer)].iterations.push_back(
        {table.real(row, "objective"), table.integer(row, "moved"), table.integer(row, "refilled"),
         seconds[static_cast<std::size_t>(row)]});
  }
}

std::vector<KeptTensor> read_kept(hdf5::Reader& reader) {
  const Table table = reader.table(layout::kept);
  const std::vector<std::uint8_t> data = reader.bytes(layout::kept_data);
  std::vector<KeptTensor> kept;
  std::int64_t end = 0;
  for (std::int64_t row = 0; row < table.rows(); ++row) {
    KeptTensor tensor;
    tensor.name = table.text(row, "name");
    tensor.dtype = table.text(row, "dtype");
    tensor.stored_dtype = table.text(row, "stored_dtype");
    tensor.shape = table.list(row, "shape", table.integer(row, "dimensions"));
    const std::int64_t bytes = table.integer(row, "bytes");
    const auto part = take(std::span(data), table.integer(row, "offset"), end, bytes,
                           "the data of tensor '" + tensor.name + "'");
    tensor.bytes.assign(part.begin(), part.end());
    require(table.digest(row, "sha256") == sha256(tensor.bytes),
            "the data of tensor '" + tensor.name + "' do not have their SHA-256");
    end += bytes;
    kept.push_back(std::move(tensor));
  }
  require(std::cmp_equal(data.size(), end), "there are kept data that belong to no tensor");
  return kept;
}

Archive read_image(hdf5::Reader& reader) {
  check_version(reader);
  Archive archive;
  archive.layers = read_layers(reader);
  read_iterations(reader, archive.layers);
  archive.kept = read_kept(reader);
  archive.plan_json = reader.text(layout::plan);
  archive.model = reader.text(layout::model);
  archive.provenance_json = reader.text(layout::provenance);
  check_archive(archive);
  archive.content_sha256 = reader.text_attribute("content_sha256");
  require(archive.content_sha256 == content_hash(archive),
          "the content does not have the hash in attribute 'content_sha256'");
  return archive;
}

ArchiveBytes count_bytes(const hdf5::Reader& reader, std::int64_t file_bytes) {
  ArchiveBytes bytes;
  bytes.file = file_bytes;
  bytes.codes = reader.stored_bytes(layout::codes);
  bytes.codebooks = reader.stored_bytes(layout::codebooks);
  bytes.kept = reader.stored_bytes(layout::kept_data);
  bytes.model = reader.stored_bytes(layout::model);
  bytes.provenance = reader.stored_bytes(layout::provenance) + reader.stored_bytes(layout::seconds);
  bytes.overhead = bytes.file - bytes.codes - bytes.codebooks - bytes.kept - bytes.model - bytes.provenance;
  return bytes;
}

/// Opens the sealed image in `bytes` and hands it to `use`; every error begins with `source`.
template <class Use>
auto with_reader(std::string_view bytes, const std::string& source, Use use) {
  const std::string_view image = unseal(bytes, source);
  const auto file_bytes = static_cast<std::int64_t>(bytes.size());
  const hdf5::QuietErrors quiet;
  try {
    hdf5::Reader reader(image, layout::most_declared_bytes(file_bytes));
    return use(reader, file_bytes);
  } catch (const DataError& error) {
    throw DataError(source + ": " + error.what());
  } catch (const hdf5::Failure& failure) {
    throw DataError(source + ": " + failure.what() + "; the file is damaged");
  }
}

}  // namespace

Archive parse_archive(std::string_view bytes, const std::string& source) {
  return with_reader(bytes, source, [](hdf5::Reader& reader, std::int64_t) { return read_image(reader); });
}

Archive read_archive(const std::filesystem::path& path) {
  return parse_archive(read_sealed(path), path.string());
}

ArchiveBytes archive_bytes(const std::filesystem::path& path) {
  return with_reader(read_sealed(path), path.string(), count_bytes);
}

}  // namespace bitfall
