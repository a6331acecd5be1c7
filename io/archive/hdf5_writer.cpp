#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "bitfall/errors.hpp"
#include "hdf5_file.hpp"
#include "row_type.hpp"

namespace bitfall::hdf5 {
namespace {

/// Larger datasets are cut: HDF5 (and any reader) holds one whole chunk in memory.
constexpr std::int64_t chunk_bytes = std::int64_t{16} << 20;
constexpr unsigned deflate_level = 6;
/// Up to this size data stand in the dataset's header: a chunk of their own costs about as much.
constexpr std::int64_t most_compact_bytes = 128;

std::span<const std::uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

Dataspace scalar() {
  return {H5Screate(H5S_SCALAR), "making a scalar"};
}

void write_attribute(hid_t object, const std::string& name, hid_t type, const void* value) {
  const Dataspace space = scalar();
  const std::string action = "writing attribute '" + name + "'";
  const Attribute attribute(H5Acreate2(object, name.c_str(), type, space.id(), H5P_DEFAULT, H5P_DEFAULT),
                            action);
  checked(H5Awrite(attribute.id(), type, value), action);
}

void write_attribute(hid_t object, const std::string& name, std::string_view text) {
  const Datatype type = text_type(std::max<std::int64_t>(1, static_cast<std::int64_t>(text.size())));
  write_attribute(object, name, type.id(), text.empty() ? "" : text.data());
}

}  // namespace

Writer::Writer(bool compress)
    : compress_(compress), image_(std::make_unique<MemoryFile>()), file_(image_->create()) {}

void Writer::attribute(const std::string& name, std::string_view text) {
  write_attribute(file_.id(), name, text);
}

void Writer::attribute(const std::string& name, std::int64_t value) {
  write_attribute(file_.id(), name, H5T_STD_I64LE, &value);
}

void Writer::dataset(const std::string& name, std::string_view bytes) {
  dataset(name, bytes_of(bytes));
}

void Writer::dataset(const std::string& name, std::span<const std::uint8_t> bytes) {
  write(name, H5T_STD_U8LE, H5T_STD_U8LE, static_cast<std::int64_t>(bytes.size()), bytes);
}

void Writer::dataset(const std::string& name, std::span<const std::int8_t> values) {
  write(name, H5T_STD_I8LE, H5T_STD_I8LE, static_cast<std::int64_t>(values.size()),
        {reinterpret_cast<const std::uint8_t*>(values.data()), values.size()});
}

void Writer::dataset(const std::string& name, std::span<const float> values) {
  write(name, H5T_IEEE_F32LE, H5T_IEEE_F32LE, static_cast<std::int64_t>(values.size()),
        {reinterpret_cast<const std::uint8_t*>(values.data()), values.size_bytes()});
}

void Writer::half_dataset(const std::string& name, std::span<const std::uint16_t> values) {
  const Datatype type = half_type();
  write(name, type.id(), type.id(), static_cast<std::int64_t>(values.size()),
        {reinterpret_cast<const std::uint8_t*>(values.data()), values.size_bytes()});
}

void Writer::dataset(const Table& table) {
  write(table.name(), row_type_in_file(table).id(), row_type_in_memory(table.columns()).id(), table.rows(),
        table.data());
}

void Writer::write(const std::string& name, hid_t stored_type, hid_t memory_type, std::int64_t count,
                   std::span<const std::uint8_t> bytes) {
  const std::string action = "writing dataset '" + name + "'";
  const PropertyList creation(H5Pcreate(H5P_DATASET_CREATE), action);
  checked(H5Pset_obj_track_times(creation.id(), false), action);
  const auto element_bytes = static_cast<std::int64_t>(H5Tget_size(stored_type));
  if (count * element_bytes <= most_compact_bytes) {
    checked(H5Pset_layout(creation.id(), H5D_COMPACT), action);
  } else if (compress_) {
    const auto chunk = static_cast<hsize_t>(std::clamp<std::int64_t>(chunk_bytes / element_bytes, 1, count));
    checked(H5Pset_chunk(creation.id(), 1, &chunk), action);
    if (element_bytes > 1) checked(H5Pset_shuffle(creation.id()), action);
    // An optional filter: a chunk that would not become smaller is stored as it is.
    checked(H5Pset_deflate(creation.id(), deflate_level), action);
  }
  const auto size = static_cast<hsize_t>(count);
  const Dataspace space(H5Screate_simple(1, &size, nullptr), action);
  const Dataset dataset(
      H5Dcreate2(file_.id(), name.c_str(), stored_type, space.id(), H5P_DEFAULT, creation.id(), H5P_DEFAULT),
      action);
  if (count > 0)
    checked(H5Dwrite(dataset.id(), memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.data()), action);
  declared_bytes_ += static_cast<std::int64_t>(bytes.size());
}

std::string Writer::finish() {
  file_ = File();
  std::string image = image_->take();
  image_.reset();
  return image;
}

}  // namespace bitfall::hdf5
