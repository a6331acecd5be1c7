#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bitfall/errors.hpp"
#include "check.hpp"
#include "chunks.hpp"
#include "hdf5_file.hpp"
#include "row_type.hpp"

namespace bitfall::hdf5 {
namespace {

constexpr std::int64_t most_attribute_bytes = 4096;

File open_image(std::string_view image) {
  const PropertyList access(H5Pcreate(H5P_FILE_ACCESS), "preparing to read");
  checked(H5Pset_fapl_core(access.id(), std::size_t{1} << 20, false), "preparing to read");
  // HDF5 copies the image; the interface takes a pointer to non-const only because other users hand it over.
  checked(H5Pset_file_image(access.id(), const_cast<char*>(image.data()), image.size()), "preparing to read");
  return {H5Fopen(memory_file_name().c_str(), H5F_ACC_RDONLY, access.id()), "opening as HDF5"};
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

}  // namespace

Reader::Reader(std::string_view image, std::int64_t budget)
    : file_(open_image(image)), file_bytes_(static_cast<std::int64_t>(image.size())), budget_(budget) {}

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
                                       const Datatype& stored, const Datatype& memory) {
  const std::string action = "reading dataset '" + name + "'";
  const Dataspace space(H5Dget_space(dataset.id()), action);
  hsize_t extent = 0;
  require(H5Sis_simple(space.id()) > 0 && H5Sget_simple_extent_ndims(space.id()) == 1 &&
              H5Sget_simple_extent_dims(space.id(), &extent, nullptr) == 1,
          "dataset '" + name + "' is not one-dimensional");
  const auto stored_bytes = static_cast<std::int64_t>(H5Tget_size(stored.id()));
  const auto memory_bytes = static_cast<std::int64_t>(H5Tget_size(memory.id()));
  const std::int64_t element_bytes = std::max(stored_bytes, memory_bytes);
  require(element_bytes >= 1 && extent <= static_cast<hsize_t>(budget_ / element_bytes),
          "dataset '" + name + "' claims far more bytes than a file of this size can hold");
  const auto count = static_cast<std::int64_t>(extent);
  spend(count * element_bytes, "dataset '" + name + "'");

  const PropertyList creation(H5Dget_create_plist(dataset.id()), action);
  const H5D_layout_t layout = H5Pget_layout(creation.id());
  require(layout == H5D_COMPACT || layout == H5D_CONTIGUOUS || layout == H5D_CHUNKED,
          "dataset '" + name + "' has a layout that archives don't use");
  require(H5Pget_external_count(creation.id()) == 0, "dataset '" + name + "' points to other files");
  std::vector<std::uint8_t> data;
  if (layout == H5D_CHUNKED) {
    data = read_chunks(dataset, name, count, stored_bytes, file_bytes_);
  } else {
    data.resize(static_cast<std::size_t>(count * stored_bytes));
    if (count > 0)
      checked(H5Dread(dataset.id(), stored.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, data.data()), action);
  }
  if (count > 0 && !same_type(stored.id(), memory.id())) {
    data.resize(static_cast<std::size_t>(count * element_bytes));
    std::vector<std::uint8_t> background(data.size());
    checked(H5Tconvert(stored.id(), memory.id(), static_cast<std::size_t>(count), data.data(),
                       background.data(), H5P_DEFAULT),
            action);
  }
  data.resize(static_cast<std::size_t>(count * memory_bytes));
  return data;
}

template <class T>
std::vector<T> Reader::values(const std::string& name, hid_t expected) {
  const Dataset dataset = open(name);
  const Datatype type(H5Dget_type(dataset.id()), "reading the type of '" + name + "'");
  require(same_type(type.id(), expected), "dataset '" + name + "' has another type than docs/format.md says");
  const std::vector<std::uint8_t> data = read(dataset, name, type, type);
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

std::vector<std::int8_t> Reader::integers(const std::string& name) {
  return values<std::int8_t>(name, H5T_STD_I8LE);
}

std::vector<std::uint16_t> Reader::halves(const std::string& name) {
  return values<std::uint16_t>(name, half_type().id());
}

std::vector<float> Reader::floats(const std::string& name) {
  return values<float>(name, H5T_IEEE_F32LE);
}

Table Reader::table(const std::string& name) {
  const Dataset dataset = open(name);
  const Datatype stored(H5Dget_type(dataset.id()), "reading the type of '" + name + "'");
  std::vector<Column> columns = columns_of(stored, name);
  std::vector<std::uint8_t> data = read(dataset, name, stored, row_type_in_memory(columns));
  return {name, std::move(columns), std::move(data)};
}

std::int64_t Reader::stored_bytes(const std::string& name) const {
  return static_cast<std::int64_t>(H5Dget_storage_size(open(name).id()));
}

}  // namespace bitfall::hdf5
