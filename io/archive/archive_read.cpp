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
#include "layers_read.hpp"
#include "layout.hpp"
#include "parts.hpp"
#include "seal.hpp"
#include "shuffle.hpp"
#include "table.hpp"

namespace bitfall {
namespace {

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

std::vector<std::uint8_t> repeat(std::span<const std::uint8_t> element, std::int64_t count) {
  std::vector<std::uint8_t> bytes;
  bytes.reserve(element.size() * static_cast<std::size_t>(count));
  for (; count > 0; --count) bytes.insert(bytes.end(), element.begin(), element.end());
  return bytes;
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
    const std::int64_t element_bytes = dtype_bytes(tensor.stored_dtype);
    const std::int64_t constant = table.integer(row, "constant");
    require(constant == 0 || (constant == 1 && elements >= 2), what + " can't be constant");
    const auto part = data.take((constant == 1 ? 1 : elements) * element_bytes, what);
    if (constant == 1) reader.spend(elements * element_bytes, what);
    tensor.bytes = unshuffle(part, static_cast<std::size_t>(element_bytes));
    if (constant == 1) tensor.bytes = repeat(tensor.bytes, elements);
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

ArchiveBytes count_bytes(hdf5::Reader& reader, std::int64_t file_bytes) {
  ArchiveBytes bytes;
  bytes.file = file_bytes;
  bytes.codes = reader.stored_bytes(layout::codes);
  bytes.codebooks = reader.stored_bytes(layout::codebooks) + reader.stored_bytes(layout::codebooks_int8);
  bytes.kept = reader.stored_bytes(layout::kept_data);
  bytes.model = reader.stored_bytes(layout::model);
  bytes.provenance = reader.stored_bytes(layout::provenance) + reader.stored_bytes(layout::seconds);
  bytes.overhead = bytes.file - bytes.codes - bytes.codebooks - bytes.kept - bytes.model - bytes.provenance;
  const Table table = reader.table(layout::layers);
  for (std::int64_t row = 0; row < table.rows(); ++row) bytes.layers.push_back(read_layer_bytes(table, row));
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
