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
#include "table.hpp"

namespace bitfall {
namespace {

/// Keeps products with a number of codewords or the bytes of an element below 2^63.
constexpr std::int64_t most_elements = std::int64_t{1} << 40;

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
  require(major == layout::version_major || major < 1,
          "the archive has format " + std::to_string(major) +
              " of an unreleased bitfall, this one reads format " + std::to_string(layout::version_major) +
              "; compress the network again");
  // A newer minor version only adds datasets, columns and attributes.
  require(major == layout::version_major && minor >= 0,
          "the archive claims the impossible format " + std::to_string(major) + "." + std::to_string(minor));
}

/// Data of several owners one after the other, without gaps.
template <class T>
class Parts {
 public:
  Parts(std::vector<T> data, std::string name) : data_(std::move(data)), name_(std::move(name)) {}

  /// The next `count` elements.
  std::span<const T> take(std::int64_t count, const std::string& owner) {
    require(count >= 0 && std::cmp_less_equal(count, data_.size() - taken_),
            owner + " needs more than what is left of '" + name_ + "'");
    const auto part = std::span(data_).subspan(taken_, static_cast<std::size_t>(count));
    taken_ += part.size();
    return part;
  }

  void require_all_taken() const {
    require(taken_ == data_.size(), "'" + name_ + "' has data that belong to nothing");
  }

 private:
  std::vector<T> data_;
  std::string name_;
  std::size_t taken_ = 0;
};

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

/// The iterations of every layer; `counts` says how many each has.
void read_iterations(hdf5::Reader& reader, std::span<const std::int64_t> counts,
                     std::vector<QuantizedLayer>& layers) {
  const Table table = reader.table(layout::iterations);
  const std::vector<float> seconds = reader.floats(layout::seconds);
  require(std::cmp_equal(seconds.size(), table.rows()), "iterations and their seconds differ in number");
  std::int64_t row = 0;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    require(counts[i] >= 0 && counts[i] <= table.rows() - row,
            "layer '" + layers[i].name + "' has more iterations than are stored");
    for (const std::int64_t end = row + counts[i]; row < end; ++row) {
      layers[i].iterations.push_back({table.real(row, "objective"), table.integer(row, "moved"),
                                      table.integer(row, "refilled"),
                                      seconds[static_cast<std::size_t>(row)]});
    }
  }
  require(row == table.rows(), "there are iterations that belong to no layer");
}

std::vector<QuantizedLayer> read_layers(hdf5::Reader& reader) {
  const Table table = reader.table(layout::layers);
  Parts codes(reader.bytes(layout::codes), layout::codes);
  Parts codebooks(reader.halves(layout::codebooks), layout::codebooks);
  std::vector<QuantizedLayer> layers;
  std::vector<std::int64_t> iterations;
  for (std::int64_t row = 0; row < table.rows(); ++row) {
    QuantizedLayer layer = read_layer_row(table, row);
    const std::string what = "layer '" + layer.name + "'";
    const std::int64_t blocks = checked_blocks(layer);
    require(blocks <= most_elements && layer.d <= most_elements, what + " is impossibly large");
    // A layer with k = 1 has codes without bytes, so their number is bounded here.
    reader.spend(2 * blocks, what);
    const auto packed = codes.take((blocks * layer.code_bits() + 7) / 8, what);
    layer.codes = unpack_codes(packed, blocks, layer.code_bits());
    const auto codebook = codebooks.take(layer.k * layer.d, what);
    layer.codebook.assign(codebook.begin(), codebook.end());
    iterations.push_back(table.integer(row, "iterations"));
    layers.push_back(std::move(layer));
  }
  codes.require_all_taken();
  codebooks.require_all_taken();
  read_iterations(reader, iterations, layers);
  return layers;
}

std::vector<KeptTensor> read_kept(hdf5::Reader& reader) {
  const Table table = reader.table(layout::kept);
  Parts data(reader.bytes(layout::kept_data), layout::kept_data);
  std::vector<KeptTensor> kept;
  for (std::int64_t row = 0; row < table.rows(); ++row) {
    KeptTensor tensor;
    tensor.name = table.text(row, "name");
    tensor.dtype = table.text(row, "dtype");
    tensor.stored_dtype = table.text(row, "stored_dtype");
    tensor.shape = table.list(row, "shape", table.integer(row, "dimensions"));
    const std::string what = "tensor '" + tensor.name + "'";
    const std::int64_t elements = checked_elements(tensor.shape, 0, what);
    require(elements <= most_elements, what + " is impossibly large");
    const auto part = data.take(elements * dtype_bytes(tensor.stored_dtype), what);
    tensor.bytes.assign(part.begin(), part.end());
    kept.push_back(std::move(tensor));
  }
  data.require_all_taken();
  return kept;
}

Archive read_image(hdf5::Reader& reader) {
  check_version(reader);
  Archive archive;
  archive.layers = read_layers(reader);
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
