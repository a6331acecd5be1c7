#include "row_type.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "bitfall/errors.hpp"

namespace bitfall::hdf5 {
namespace {

constexpr std::int64_t most_row_bytes = 65536;

Datatype array_of(hid_t base, std::int64_t width) {
  const auto size = static_cast<hsize_t>(width);
  return {H5Tarray_create2(base, 1, &size), "making an array type"};
}

Datatype type_in_memory(const Column& column) {
  switch (column.type) {
    case Column::Type::text:
      return text_type(column.width);
    case Column::Type::real:
      return {H5Tcopy(H5T_IEEE_F64LE), "making a column type"};
    case Column::Type::integer:
      break;
  }
  if (column.width == 1) return {H5Tcopy(H5T_STD_I64LE), "making a column type"};
  return array_of(H5T_STD_I64LE, column.width);
}

/// The narrowest type that holds every value of the column.
Datatype type_in_file(const Column& column, const Table& table) {
  if (column.type != Column::Type::integer) return type_in_memory(column);
  std::int64_t least = 0;
  std::int64_t most = 0;
  for (std::int64_t row = 0; row < table.rows(); ++row) {
    for (const std::int64_t value : table.list(row, column.name, column.width)) {
      least = std::min(least, value);
      most = std::max(most, value);
    }
  }
  const hid_t base = least < 0                            ? H5T_STD_I64LE
                     : std::in_range<std::uint8_t>(most)  ? H5T_STD_U8LE
                     : std::in_range<std::uint16_t>(most) ? H5T_STD_U16LE
                     : std::in_range<std::uint32_t>(most) ? H5T_STD_U32LE
                                                          : H5T_STD_I64LE;
  if (column.width == 1) return {H5Tcopy(base), "making a column type"};
  return array_of(base, column.width);
}

/// The compound type of a row, its columns one after the other.
template <class TypeOf>
Datatype row_type(const std::vector<Column>& columns, TypeOf type_of) {
  std::vector<Datatype> types;
  std::size_t bytes = 0;
  for (const Column& column : columns) {
    types.push_back(type_of(column));
    bytes += H5Tget_size(types.back().id());
  }
  Datatype row(H5Tcreate(H5T_COMPOUND, bytes), "making a row type");
  std::size_t offset = 0;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    checked(H5Tinsert(row.id(), columns[i].name.c_str(), offset, types[i].id()),
            "making column '" + columns[i].name + "'");
    offset += H5Tget_size(types[i].id());
  }
  return row;
}

/// Bytes of an integer type that archives use, else 0.
std::int64_t integer_bytes(hid_t type) {
  for (const hid_t known : {H5T_STD_U8LE, H5T_STD_U16LE, H5T_STD_U32LE, H5T_STD_I64LE}) {
    if (same_type(type, known)) return static_cast<std::int64_t>(H5Tget_size(known));
  }
  return 0;
}

Column column_of(const Datatype& row, unsigned member, const std::string& table) {
  const std::string action = "reading the columns of '" + table + "'";
  const Datatype type(H5Tget_member_type(row.id(), member), action);
  char* name = H5Tget_member_name(row.id(), member);
  if (name == nullptr) fail(action);
  Column column{name, Column::Type::integer, 1};
  H5free_memory(name);

  if (integer_bytes(type.id()) > 0) return column;
  column.type = Column::Type::real;
  if (same_type(type.id(), H5T_IEEE_F64LE)) return column;
  const auto bytes = static_cast<std::int64_t>(H5Tget_size(type.id()));
  column.type = Column::Type::text;
  column.width = bytes;
  if (H5Tget_class(type.id()) == H5T_STRING && same_type(type.id(), text_type(bytes).id())) return column;
  if (H5Tget_class(type.id()) == H5T_ARRAY && H5Tget_array_ndims(type.id()) == 1) {
    const Datatype base(H5Tget_super(type.id()), action);
    const std::int64_t element_bytes = integer_bytes(base.id());
    column.type = Column::Type::integer;
    column.width = element_bytes == 0 ? 0 : bytes / element_bytes;
    if (column.width > 0) return column;
  }
  throw DataError("column '" + column.name + "' of '" + table + "' has a type that archives don't use");
}

}  // namespace

bool same_type(hid_t one, hid_t other) {
  return H5Tequal(one, other) > 0;
}

Datatype text_type(std::int64_t bytes) {
  Datatype type(H5Tcopy(H5T_C_S1), "making a text type");
  checked(H5Tset_size(type.id(), static_cast<std::size_t>(bytes)), "making a text type");
  checked(H5Tset_strpad(type.id(), H5T_STR_NULLPAD), "making a text type");
  checked(H5Tset_cset(type.id(), H5T_CSET_UTF8), "making a text type");
  return type;
}

Datatype row_type_in_memory(const std::vector<Column>& columns) {
  return row_type(columns, type_in_memory);
}

Datatype row_type_in_file(const Table& table) {
  return row_type(table.columns(), [&](const Column& column) { return type_in_file(column, table); });
}

std::vector<Column> columns_of(const Datatype& row, const std::string& table) {
  if (H5Tget_class(row.id()) != H5T_COMPOUND) throw DataError("dataset '" + table + "' is not a table");
  const auto row_bytes = static_cast<std::int64_t>(H5Tget_size(row.id()));
  if (row_bytes < 1 || row_bytes > most_row_bytes)
    throw DataError("the rows of '" + table + "' are too long");
  const int members = checked(H5Tget_nmembers(row.id()), "counting the columns of '" + table + "'");
  std::vector<Column> columns;
  for (int member = 0; member < members; ++member)
    columns.push_back(column_of(row, static_cast<unsigned>(member), table));
  return columns;
}

}  // namespace bitfall::hdf5
