#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "bitfall/errors.hpp"
#include "hdf5_file.hpp"
#include "sha256.hpp"

namespace bitfall::hdf5 {
namespace {

/// Larger datasets are cut: HDF5 (and any reader) holds one whole chunk in memory.
constexpr std::int64_t chunk_bytes = std::int64_t{16} << 20;
constexpr unsigned deflate_level = 6;

std::span<const std::uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

File create_in_memory() {
  const PropertyList access(H5Pcreate(H5P_FILE_ACCESS), "preparing a file in memory");
  checked(H5Pset_fapl_core(access.id(), std::size_t{1} << 20, false), "preparing a file in memory");
  // The oldest format: H5Fget_file_image clears flags in a newer superblock and leaves its checksum as it
  // was, so that the image can't be opened again (seen with 1.10.8). The seal protects what HDF5's checksums
  // would.
  checked(H5Pset_libver_bounds(access.id(), H5F_LIBVER_EARLIEST, H5F_LIBVER_LATEST),
          "preparing a file in memory");
  const PropertyList creation(H5Pcreate(H5P_FILE_CREATE), "preparing a file in memory");
  // Times would make equal archives differ.
  checked(H5Pset_obj_track_times(creation.id(), false), "preparing a file in memory");
  return {H5Fcreate(memory_file_name().c_str(), H5F_ACC_TRUNC, creation.id(), access.id()),
          "making a file in memory"};
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

Datatype text_type(std::int64_t bytes) {
  Datatype type(H5Tcopy(H5T_C_S1), "making a text type");
  checked(H5Tset_size(type.id(), static_cast<std::size_t>(bytes)), "making a text type");
  checked(H5Tset_strpad(type.id(), H5T_STR_NULLPAD), "making a text type");
  checked(H5Tset_cset(type.id(), H5T_CSET_UTF8), "making a text type");
  return type;
}

void write_attribute(hid_t object, const std::string& name, std::string_view text) {
  const Datatype type = text_type(std::max<std::int64_t>(1, static_cast<std::int64_t>(text.size())));
  write_attribute(object, name, type.id(), text.empty() ? "" : text.data());
}

Datatype array_of(hid_t base, std::int64_t width) {
  const auto size = static_cast<hsize_t>(width);
  return {H5Tarray_create2(base, 1, &size), "making an array type"};
}

Datatype type_of(const Column& column) {
  switch (column.type) {
    case Column::Type::text:
      return text_type(column.width);
    case Column::Type::bytes:
      return array_of(H5T_STD_U8LE, column.width);
    case Column::Type::real:
      return {H5Tcopy(H5T_IEEE_F64LE), "making a column type"};
    case Column::Type::integer:
      break;
  }
  if (column.width == 1) return {H5Tcopy(H5T_STD_I64LE), "making a column type"};
  return array_of(H5T_STD_I64LE, column.width);
}

}  // namespace

Writer::Writer(bool compress) : compress_(compress), file_(create_in_memory()) {}

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
  write(name, H5T_STD_U8LE, static_cast<std::int64_t>(bytes.size()), bytes);
}

void Writer::dataset(const std::string& name, std::span<const float> values) {
  write(name, H5T_IEEE_F32LE, static_cast<std::int64_t>(values.size()),
        {reinterpret_cast<const std::uint8_t*>(values.data()), values.size_bytes()});
}

void Writer::half_dataset(const std::string& name, std::span<const std::uint16_t> values) {
  write(name, half_type().id(), static_cast<std::int64_t>(values.size()),
        {reinterpret_cast<const std::uint8_t*>(values.data()), values.size_bytes()});
}

void Writer::dataset(const Table& table) {
  const Datatype type(H5Tcreate(H5T_COMPOUND, static_cast<std::size_t>(table.row_bytes())),
                      "making a row type");
  for (const Column& column : table.columns())
    checked(H5Tinsert(type.id(), column.name.c_str(), static_cast<std::size_t>(column.offset),
                      type_of(column).id()),
            "making column '" + column.name + "'");
  write(table.name(), type.id(), table.rows(), table.data());
}

void Writer::write(const std::string& name, hid_t type, std::int64_t count,
                   std::span<const std::uint8_t> bytes) {
  const std::string action = "writing dataset '" + name + "'";
  const PropertyList creation(H5Pcreate(H5P_DATASET_CREATE), action);
  checked(H5Pset_obj_track_times(creation.id(), false), action);
  if (compress_ && count > 0) {
    const auto element_bytes = static_cast<std::int64_t>(H5Tget_size(type));
    const auto chunk = static_cast<hsize_t>(std::clamp<std::int64_t>(chunk_bytes / element_bytes, 1, count));
    checked(H5Pset_chunk(creation.id(), 1, &chunk), action);
    checked(H5Pset_shuffle(creation.id()), action);
    // An optional filter: a chunk that would not become smaller is stored as it is.
    checked(H5Pset_deflate(creation.id(), deflate_level), action);
    checked(H5Pset_fletcher32(creation.id()), action);
  }
  const auto size = static_cast<hsize_t>(count);
  const Dataspace space(H5Screate_simple(1, &size, nullptr), action);
  const Dataset dataset(
      H5Dcreate2(file_.id(), name.c_str(), type, space.id(), H5P_DEFAULT, creation.id(), H5P_DEFAULT),
      action);
  if (count > 0) checked(H5Dwrite(dataset.id(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.data()), action);
  write_attribute(dataset.id(), "sha256", to_hex(sha256(bytes)));
  declared_bytes_ += static_cast<std::int64_t>(bytes.size());
}

std::string Writer::finish() {
  checked(H5Fflush(file_.id(), H5F_SCOPE_GLOBAL), "finishing the file in memory");
  const ssize_t size = checked(H5Fget_file_image(file_.id(), nullptr, 0), "sizing the file in memory");
  std::string image(static_cast<std::size_t>(size), '\0');
  checked(H5Fget_file_image(file_.id(), image.data(), image.size()), "copying the file in memory");
  file_ = File();
  return image;
}

}  // namespace bitfall::hdf5
