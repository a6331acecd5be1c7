#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bitfall/errors.hpp"
#include "hdf5_file.hpp"
#include "sha256.hpp"

namespace bitfall::hdf5 {
namespace {

constexpr std::int64_t most_attribute_bytes = 4096;
constexpr std::int64_t most_row_bytes = 65536;

File open_image(std::string_view image) {
  const PropertyList access(H5Pcreate(H5P_FILE_ACCESS), "preparing to read");
  checked(H5Pset_fapl_core(access.id(), std::size_t{1} << 20, false), "preparing to read");
  // HDF5 copies the image; the interface takes a pointer to non-const only because other users hand it over.
  checked(H5Pset_file_image(access.id(), const_cast<char*>(image.data()), image.size()), "preparing to read");
  return {H5Fopen(memory_file_name().c_str(), H5F_ACC_RDONLY, access.id()), "opening as HDF5"};
}

void require(bool condition, const std::string& what) {
  if (!condition) throw DataError(what);
}

Attribute open_attribute(hid_t object, const std::string& name) {
  require(checked(H5Aexists(object, name.c_str()), "looking for attribute '" + name + "'") > 0,
          "attribute '" + name + "' is missing");
  return {H5Aopen(object, name.c_str(), H5P_DEFAULT), "opening attribute '" + name + "'"};
}

void require_scalar(const Attribute& attribute, const std::string& name) {
  const Dataspace space(H5Aget_space(attribute.id()), "reading attribute '" + name + "'");
  require(H5Sget_simple_extent_type(space.id()) == H5S_SCALAR,
          "attribute '" + name + "' is not a single value");
}

std::string read_text_attribute(hid_t object, const std::string& name) {
  const std::string action = "reading attribute '" + name + "'";
  const Attribute attribute = open_attribute(object, name);
  require_scalar(attribute, name);
  const Datatype type(H5Aget_type(attribute.id()), action);
  const auto size = static_cast<std::int64_t>(H5Tget_size(type.id()));
  require(H5Tget_class(type.id()) == H5T_STRING && H5Tis_variable_str(type.id()) == 0 && size >= 1 &&
              size <= most_attribute_bytes,
          "attribute '" + name + "' is not a short text of fixed size");
  std::string text(static_cast<std::size_t>(size), '\0');
  checked(H5Aread(attribute.id(), type.id(), text.data()), action);
  text.resize(std::strlen(text.c_str()));
  return text;
}

/// A filter pipeline that can't do anything but what docs/format.md names.
void check_layout(const Dataset& dataset, const std::string& name, std::int64_t most_chunk_bytes,
                  std::int64_t element_bytes) {
  const std::string action = "reading the layout of '" + name + "'";
  const PropertyList creation(H5Dget_create_plist(dataset.id()), action);
  const H5D_layout_t layout = H5Pget_layout(creation.id());
  require(layout == H5D_COMPACT || layout == H5D_CONTIGUOUS || layout == H5D_CHUNKED,
          "dataset '" + name + "' has a layout that archives don't use");
  require(H5Pget_external_count(creation.id()) == 0, "dataset '" + name + "' points to other files");
  const int filters = checked(H5Pget_nfilters(creation.id()), action);
  for (int i = 0; i < filters; ++i) {
    unsigned flags = 0;
    std::size_t values = 0;
    const H5Z_filter_t filter = H5Pget_filter2(creation.id(), static_cast<unsigned>(i), &flags, &values,
                                               nullptr, 0, nullptr, nullptr);
    require(filter == H5Z_FILTER_DEFLATE || filter == H5Z_FILTER_SHUFFLE || filter == H5Z_FILTER_FLETCHER32,
            "dataset '" + name + "' uses filter " + std::to_string(filter) + ", which archives don't use");
  }
  require(filters <= 3, "dataset '" + name + "' has too many filters");
  if (layout != H5D_CHUNKED) return;
  hsize_t chunk = 0;
  require(H5Pget_chunk(creation.id(), 1, &chunk) == 1 && chunk >= 1 &&
              chunk <= static_cast<hsize_t>(most_chunk_bytes / element_bytes),
          "dataset '" + name + "' has chunks larger than itself");
}

bool same_type(hid_t one, hid_t other) {
  return H5Tequal(one, other) > 0;
}

Column read_column(const Datatype& row, unsigned member, const std::string& table) {
  const std::string action = "reading the columns of '" + table + "'";
  const Datatype type(H5Tget_member_type(row.id(), member), action);
  char* name = H5Tget_member_name(row.id(), member);
  if (name == nullptr) fail(action);
  Column column{name, Column::Type::integer, 1,
                static_cast<std::int64_t>(H5Tget_member_offset(row.id(), member))};
  H5free_memory(name);

  if (same_type(type.id(), H5T_STD_I64LE)) return column;
  column.type = Column::Type::real;
  if (same_type(type.id(), H5T_IEEE_F64LE)) return column;
  column.width = static_cast<std::int64_t>(H5Tget_size(type.id()));
  column.type = Column::Type::text;
  if (H5Tget_class(type.id()) == H5T_STRING && H5Tis_variable_str(type.id()) == 0) return column;
  if (H5Tget_class(type.id()) == H5T_ARRAY && H5Tget_array_ndims(type.id()) == 1) {
    const Datatype base(H5Tget_super(type.id()), action);
    column.type = Column::Type::bytes;
    if (same_type(base.id(), H5T_STD_U8LE)) return column;
    column.type = Column::Type::integer;
    column.width /= 8;
    if (same_type(base.id(), H5T_STD_I64LE)) return column;
  }
  throw DataError("column '" + column.name + "' of '" + table + "' has a type that archives don't use");
}

}  // namespace

Reader::Reader(std::string_view image, std::int64_t budget) : file_(open_image(image)), budget_(budget) {}

std::string Reader::text_attribute(const std::string& name) const {
  return read_text_attribute(file_.id(), name);
}

std::int64_t Reader::integer_attribute(const std::string& name) const {
  const Attribute attribute = open_attribute(file_.id(), name);
  require_scalar(attribute, name);
  const Datatype type(H5Aget_type(attribute.id()), "reading attribute '" + name + "'");
  require(same_type(type.id(), H5T_STD_I64LE), "attribute '" + name + "' is not a 64-bit integer");
  std::int64_t value = 0;
  checked(H5Aread(attribute.id(), H5T_STD_I64LE, &value), "reading attribute '" + name + "'");
  return value;
}

void Reader::spend(std::int64_t bytes, const std::string& on_what) {
  require(bytes >= 0 && bytes <= budget_,
          on_what + " claims far more bytes than a file of this size can hold");
  budget_ -= bytes;
}

Dataset Reader::open(const std::string& name) const {
  require(checked(H5Lexists(file_.id(), name.c_str(), H5P_DEFAULT), "looking for dataset '" + name + "'") > 0,
          "dataset '" + name + "' is missing");
  H5L_info_t link{};
  checked(H5Lget_info(file_.id(), name.c_str(), &link, H5P_DEFAULT), "looking at dataset '" + name + "'");
  require(link.type == H5L_TYPE_HARD, "dataset '" + name + "' is a link to somewhere else");
  return {H5Dopen2(file_.id(), name.c_str(), H5P_DEFAULT), "opening dataset '" + name + "'"};
}

std::vector<std::uint8_t> Reader::read(const Dataset& dataset, const std::string& name,
                                       const Datatype& type) {
  const std::string action = "reading dataset '" + name + "'";
  const Dataspace space(H5Dget_space(dataset.id()), action);
  hsize_t count = 0;
  require(H5Sis_simple(space.id()) > 0 && H5Sget_simple_extent_ndims(space.id()) == 1 &&
              H5Sget_simple_extent_dims(space.id(), &count, nullptr) == 1,
          "dataset '" + name + "' is not one-dimensional");
  const auto element_bytes = static_cast<std::int64_t>(H5Tget_size(type.id()));
  require(element_bytes >= 1 && count <= static_cast<hsize_t>(budget_ / element_bytes),
          "dataset '" + name + "' claims far more bytes than a file of this size can hold");
  const std::int64_t bytes = static_cast<std::int64_t>(count) * element_bytes;
  spend(bytes, "dataset '" + name + "'");
  check_layout(dataset, name, bytes, element_bytes);
  std::vector<std::uint8_t> data(static_cast<std::size_t>(bytes));
  if (bytes > 0)
    checked(H5Dread(dataset.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, data.data()), action);
  require(read_text_attribute(dataset.id(), "sha256") == to_hex(sha256(data)),
          "dataset '" + name + "' does not have the SHA-256 that stands beside it");
  return data;
}

template <class T>
std::vector<T> Reader::values(const std::string& name, hid_t expected) {
  const Dataset dataset = open(name);
  const Datatype type(H5Dget_type(dataset.id()), "reading the type of '" + name + "'");
  require(same_type(type.id(), expected), "dataset '" + name + "' has another type than docs/format.md says");
  const std::vector<std::uint8_t> data = read(dataset, name, type);
  std::vector<T> values(data.size() / sizeof(T));
  if (!data.empty()) std::memcpy(values.data(), data.data(), data.size());
  return values;
}

std::vector<std::uint8_t> Reader::bytes(const std::string& name) {
  return values<std::uint8_t>(name, H5T_STD_U8LE);
}

std::string Reader::text(const std::string& name) {
  const std::vector<std::uint8_t> data = bytes(name);
  return {data.begin(), data.end()};
}

std::vector<std::uint16_t> Reader::halves(const std::string& name) {
  return values<std::uint16_t>(name, half_type().id());
}

std::vector<float> Reader::floats(const std::string& name) {
  return values<float>(name, H5T_IEEE_F32LE);
}

Table Reader::table(const std::string& name) {
  const Dataset dataset = open(name);
  const Datatype type(H5Dget_type(dataset.id()), "reading the type of '" + name + "'");
  require(H5Tget_class(type.id()) == H5T_COMPOUND, "dataset '" + name + "' is not a table");
  const auto row_bytes = static_cast<std::int64_t>(H5Tget_size(type.id()));
  require(row_bytes >= 1 && row_bytes <= most_row_bytes, "the rows of '" + name + "' are too long");
  const int members = checked(H5Tget_nmembers(type.id()), "counting the columns of '" + name + "'");
  std::vector<Column> columns;
  for (int member = 0; member < members; ++member)
    columns.push_back(read_column(type, static_cast<unsigned>(member), name));
  return {name, std::move(columns), row_bytes, read(dataset, name, type)};
}

std::int64_t Reader::stored_bytes(const std::string& name) const {
  return static_cast<std::int64_t>(H5Dget_storage_size(open(name).id()));
}

}  // namespace bitfall::hdf5
