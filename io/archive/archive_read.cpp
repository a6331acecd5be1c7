#include <algorithm>
#include <limits>

#include "bitfall/archive.hpp"
#include "bitfall/errors.hpp"
#include "file.hpp"
#include "hdf5_file.hpp"
#include "layout.hpp"
#include "seal.hpp"
#include "sha256.hpp"

namespace bitfall {

namespace {

void require(bool condition, const std::string& what) {
  if (!condition) throw DataError(what);
}

/// The product of sizes; DataError when one is negative or the product too large for a file.
std::int64_t checked_product(const std::vector<std::int64_t>& sizes, const std::string& what) {
  std::int64_t product = 1;
  for (const std::int64_t size : sizes) {
    require(size >= 0 && (size == 0 || product <= std::numeric_limits<std::int64_t>::max() / 64 / size),
            what + " has an impossible shape");
    product *= size;
  }
  return product;
}

template <class T>
std::span<const T> part(const std::vector<T>& all, std::int64_t offset, std::int64_t count,
                        const std::string& what) {
  const auto size = static_cast<std::int64_t>(all.size());
  require(offset >= 0 && count >= 0 && offset <= size && count <= size - offset,
          what + " lies outside of its dataset");
  return std::span(all).subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(count));
}

std::vector<std::int64_t> shape_of(const Table& table, std::int64_t row) {
  const std::int64_t dimensions = table.integer(row, "dimensions");
  require(dimensions >= 0 && dimensions <= layout::most_dimensions,
          table.name() + ": a wrong number of dimensions");
  return table.list(row, "shape", dimensions);
}

LayerKind kind_of(const std::string& text) {
  for (const LayerKind kind : {LayerKind::convolution, LayerKind::linear}) {
    if (text == to_string(kind)) return kind;
  }
  throw DataError("unknown kind of layer '" + text + "'");
}

Metric metric_of(const std::string& text) {
  for (const Metric metric : {Metric::euclidean, Metric::activation}) {
    if (text == to_string(metric)) return metric;
  }
  throw DataError("unknown metric '" + text + "'");
}

QuantizedLayer read_layer(const Table& table, std::int64_t row, const std::vector<std::uint8_t>& codes,
                          const std::vector<std::uint16_t>& codebooks) {
  QuantizedLayer layer;
  layer.name = table.text(row, "name");
  const std::string where = "layer '" + layer.name + "'";
  layer.weight_name = table.text(row, "weight_name");
  layer.kind = kind_of(table.text(row, "kind"));
  layer.metric = metric_of(table.text(row, "metric"));
  layer.weight_shape = shape_of(table, row);
  layer.groups = table.integer(row, "groups");
  layer.d = table.integer(row, "d");
  layer.k = table.integer(row, "k");
  const std::int64_t elements = checked_product(layer.weight_shape, where);
  require(layer.d >= 1 && layer.d <= elements && elements % layer.d == 0,
          where + ": d does not divide its weight");
  require(layer.k >= 1 && layer.k <= 65536, where + ": k is not from 1 to 65536");
  require(layer.groups >= 1, where + ": groups is not positive");
  require(table.integer(row, "code_bits") == layer.code_bits(), where + ": code_bits does not fit k");
  const auto packed =
      part(codes, table.integer(row, "codes_offset"), table.integer(row, "codes_bytes"), where);
  const auto codebook = part(codebooks, table.integer(row, "codebook_offset"),
                             checked_product({layer.k, layer.d}, where), where);
  require(sha256(packed) == table.digest(row, "codes_sha256"),
          where + ": the codes do not have their SHA-256");
  layer.codebook.assign(codebook.begin(), codebook.end());
  const std::span bytes(reinterpret_cast<const std::uint8_t*>(layer.codebook.data()),
                        layer.codebook.size() * 2);
  require(sha256(bytes) == table.digest(row, "codebook_sha256"),
          where + ": the codebook does not have its SHA-256");
  // A layer with k = 1 has codes of no bits: its count is bounded by nothing in the file.
  require(layer.code_bits() > 0 || elements / layer.d <= (std::int64_t{1} << 32), where + " is too large");
  layer.codes = unpack_codes(packed, elements / layer.d, layer.code_bits());
  const auto largest = std::max_element(layer.codes.begin(), layer.codes.end());
  require(largest != layer.codes.end() && *largest < layer.k,
          where + ": a code points outside of the codebook");
  return layer;
}

std::vector<QuantizedLayer> read_layers(hdf5::Reader& file) {
  const Table table = file.table(layout::layers);
  const std::vector<std::uint8_t> codes = file.bytes(layout::codes);
  const std::vector<std::uint16_t> codebooks = file.halves(layout::codebooks);
  std::vector<QuantizedLayer> layers;
  for (std::int64_t row = 0; row < table.rows(); ++row)
    layers.push_back(read_layer(table, row, codes, codebooks));
  const Table iterations = file.table(layout::iterations);
  for (std::int64_t row = 0; row < iterations.rows(); ++row) {
    const std::int64_t layer = iterations.integer(row, "layer");
    require(layer >= 0 && layer < table.rows(), "an iteration belongs to no layer");
    layers[static_cast<std::size_t>(layer)].iterations.push_back(
        {iterations.real(row, "objective"), iterations.integer(row, "moved"),
         iterations.integer(row, "refilled"), iterations.real(row, "seconds")});
  }
  return layers;
}

std::vector<KeptTensor> read_kept(hdf5::Reader& file) {
  const Table table = file.table(layout::kept);
  const std::vector<std::uint8_t> data = file.bytes(layout::kept_data);
  std::vector<KeptTensor> kept;
  for (std::int64_t row = 0; row < table.rows(); ++row) {
    KeptTensor tensor{table.text(row, "name"),
                      table.text(row, "dtype"),
                      shape_of(table, row),
                      table.text(row, "stored_dtype"),
                      {}};
    const std::string where = "tensor '" + tensor.name + "'";
    checked_product(tensor.shape, where);
    const auto bytes = part(data, table.integer(row, "offset"), table.integer(row, "bytes"), where);
    require(sha256(bytes) == table.digest(row, "sha256"), where + " does not have its SHA-256");
    tensor.bytes.assign(bytes.begin(), bytes.end());
    kept.push_back(std::move(tensor));
  }
  return kept;
}

void check_version(const hdf5::Reader& file) {
  require(file.text_attribute("magic") == layout::magic, "it is HDF5 but no bitfall archive");
  const std::int64_t major = file.integer_attribute("version_major");
  require(major == layout::version_major,
          "it has format version " + std::to_string(major) + "; this program reads version " +
              std::to_string(layout::version_major) + ": use a newer bitfall");
}

Archive parse(std::string_view image) {
  const hdf5::QuietErrors quiet;
  // deflate expands at most about 1,032 times, so a file of this size can't honestly hold more.
  hdf5::Reader file(image, static_cast<std::int64_t>(image.size()) * 1032);
  check_version(file);
  Archive archive;
  archive.layers = read_layers(file);
  archive.kept = read_kept(file);
  archive.plan_json = file.text(layout::plan);
  archive.model = file.text(layout::model);
  archive.provenance_json = file.text(layout::provenance);
  archive.content_sha256 = file.text_attribute("content_sha256");
  require(content_hash(archive) == archive.content_sha256,
          "its content does not have the SHA-256 that it names");
  return archive;
}

}  // namespace

Archive parse_archive(std::string_view bytes, const std::string& source) {
  const std::string_view image = unseal(bytes, source);
  try {
    return parse(image);
  } catch (const DataError& error) {
    throw DataError(source + ": " + error.what());
  } catch (const hdf5::Failure& failure) {
    throw DataError(source + ": " + failure.what());
  }
}

Archive read_archive(const std::filesystem::path& path) {
  return parse_archive(read_file(path), path.string());
}

ArchiveBytes archive_bytes(const std::filesystem::path& path) {
  const std::string bytes = read_file(path);
  const std::string_view image = unseal(bytes, path.string());
  const hdf5::QuietErrors quiet;
  const hdf5::Reader file(image, static_cast<std::int64_t>(image.size()));
  ArchiveBytes result;
  result.file = static_cast<std::int64_t>(bytes.size());
  result.codes = file.stored_bytes(layout::codes);
  result.codebooks = file.stored_bytes(layout::codebooks);
  result.kept = file.stored_bytes(layout::kept_data);
  result.model = file.stored_bytes(layout::model);
  result.provenance = file.stored_bytes(layout::provenance);
  result.overhead =
      result.file - result.codes - result.codebooks - result.kept - result.model - result.provenance;
  return result;
}

}  // namespace bitfall
