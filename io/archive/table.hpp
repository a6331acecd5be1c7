#pragma once
/// A table as HDF5 reads and writes it: rows of packed columns.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bitfall {

/// One column. A cell has `width` elements: bytes of a text (padded with zeros), integers of a list.
struct Column {
  enum class Type {
    integer,  ///< int64
    real,     ///< IEEE binary64
    text,     ///< fixed-size string
  };
  std::string name;
  Type type = Type::integer;
  std::int64_t width = 1;
  std::int64_t offset = 0;  ///< within a row; Table's constructor computes it
  [[nodiscard]] std::int64_t bytes() const;
};

/// Cells are read and written by column name. Errors (no such column, another type, a row that is not there)
/// are DataError naming the table: when reading, the file is to blame.
class Table {
 public:
  /// `rows` rows of zeros.
  Table(std::string name, std::vector<Column> columns, std::int64_t rows);
  /// Rows as they were read.
  Table(std::string name, std::vector<Column> columns, std::vector<std::uint8_t> data);

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const std::vector<Column>& columns() const { return columns_; }
  [[nodiscard]] std::int64_t rows() const;
  [[nodiscard]] std::int64_t row_bytes() const { return row_bytes_; }
  [[nodiscard]] std::span<const std::uint8_t> data() const { return data_; }

  void set(std::int64_t row, std::string_view column, std::int64_t value);
  void set_real(std::int64_t row, std::string_view column, double value);
  void set(std::int64_t row, std::string_view column, std::string_view text);
  void set(std::int64_t row, std::string_view column, std::span<const std::int64_t> list);

  [[nodiscard]] std::int64_t integer(std::int64_t row, std::string_view column) const;
  [[nodiscard]] double real(std::int64_t row, std::string_view column) const;
  /// Without the padding. A zero byte in the middle is an error.
  [[nodiscard]] std::string text(std::int64_t row, std::string_view column) const;
  /// The first `count` integers; the others must be zero.
  [[nodiscard]] std::vector<std::int64_t> list(std::int64_t row, std::string_view column,
                                               std::int64_t count) const;

 private:
  void place_columns();
  [[nodiscard]] const Column& find(std::string_view column, Column::Type type) const;
  [[nodiscard]] std::size_t place(std::int64_t row, const Column& column) const;

  std::string name_;
  std::vector<Column> columns_;
  std::int64_t row_bytes_ = 0;
  std::vector<std::uint8_t> data_;
};

}  // namespace bitfall
