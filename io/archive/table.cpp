#include "table.hpp"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bitfall/errors.hpp"

namespace bitfall {

// Cells are copied as they lie in memory.
static_assert(std::endian::native == std::endian::little, "bitfall needs a little-endian machine");

std::int64_t Column::bytes() const {
  return type == Type::text ? width : 8 * width;
}

Table::Table(std::string name, std::vector<Column> columns, std::int64_t rows)
    : name_(std::move(name)), columns_(std::move(columns)) {
  place_columns();
  data_.resize(static_cast<std::size_t>(rows * row_bytes_));
}

Table::Table(std::string name, std::vector<Column> columns, std::vector<std::uint8_t> data)
    : name_(std::move(name)), columns_(std::move(columns)), data_(std::move(data)) {
  place_columns();
  BITFALL_ASSERT(row_bytes_ > 0 && static_cast<std::int64_t>(data_.size()) % row_bytes_ == 0, name_);
}

void Table::place_columns() {
  for (Column& column : columns_) {
    column.offset = row_bytes_;
    row_bytes_ += column.bytes();
  }
}

std::int64_t Table::rows() const {
  return row_bytes_ == 0 ? 0 : static_cast<std::int64_t>(data_.size()) / row_bytes_;
}

const Column& Table::find(std::string_view column, Column::Type type) const {
  const auto found =
      std::find_if(columns_.begin(), columns_.end(), [&](const Column& c) { return c.name == column; });
  if (found == columns_.end()) throw DataError(name_ + " has no column '" + std::string(column) + "'");
  if (found->type != type)
    throw DataError("column '" + std::string(column) + "' of " + name_ +
                    " has another type than docs/format.md says");
  return *found;
}

std::size_t Table::place(std::int64_t row, const Column& column) const {
  if (row < 0 || row >= rows()) throw DataError(name_ + " has no row " + std::to_string(row));
  return static_cast<std::size_t>(row * row_bytes_ + column.offset);
}

void Table::set(std::int64_t row, std::string_view column, std::int64_t value) {
  set(row, column, std::span(&value, 1));
}

void Table::set_real(std::int64_t row, std::string_view column, double value) {
  std::memcpy(&data_[place(row, find(column, Column::Type::real))], &value, sizeof value);
}

void Table::set(std::int64_t row, std::string_view column, std::string_view text) {
  const Column& cell = find(column, Column::Type::text);
  BITFALL_ASSERT(std::cmp_less_equal(text.size(), cell.width), name_ + "." + cell.name);
  std::copy(text.begin(), text.end(), data_.begin() + static_cast<std::ptrdiff_t>(place(row, cell)));
}

void Table::set(std::int64_t row, std::string_view column, std::span<const std::int64_t> list) {
  const Column& cell = find(column, Column::Type::integer);
  BITFALL_ASSERT(std::cmp_less_equal(list.size(), cell.width), name_ + "." + cell.name);
  if (!list.empty()) std::memcpy(&data_[place(row, cell)], list.data(), list.size_bytes());
}

std::int64_t Table::integer(std::int64_t row, std::string_view column) const {
  return list(row, column, 1).front();
}

double Table::real(std::int64_t row, std::string_view column) const {
  double value = 0;
  std::memcpy(&value, &data_[place(row, find(column, Column::Type::real))], sizeof value);
  return value;
}

std::string Table::text(std::int64_t row, std::string_view column) const {
  const Column& cell = find(column, Column::Type::text);
  std::string text(reinterpret_cast<const char*>(&data_[place(row, cell)]),
                   static_cast<std::size_t>(cell.width));
  text.erase(std::find_if(text.rbegin(), text.rend(), [](char c) { return c != '\0'; }).base(), text.end());
  if (text.find('\0') != std::string::npos)
    throw DataError("a text of column '" + cell.name + "' of " + name_ + " has a zero byte inside");
  return text;
}

std::vector<std::int64_t> Table::list(std::int64_t row, std::string_view column, std::int64_t count) const {
  const Column& cell = find(column, Column::Type::integer);
  std::vector<std::int64_t> values(static_cast<std::size_t>(cell.width));
  std::memcpy(values.data(), &data_[place(row, cell)], values.size() * sizeof(std::int64_t));
  if (count < 0 || count > cell.width ||
      std::any_of(values.begin() + count, values.end(), [](std::int64_t value) { return value != 0; }))
    throw DataError("row " + std::to_string(row) + " of " + name_ +
                    " has another number of values in column '" + cell.name + "' than it says");
  values.resize(static_cast<std::size_t>(count));
  return values;
}

}  // namespace bitfall
