#pragma once
/// Products with a whole Gram matrix. SIMD, the same bits on every machine.
#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "quantization/kmeans_blocks.hpp"

namespace bitfall {

/// H in float, in panels of 32 columns that lie one row behind the other: a product takes 128 rows of a panel
/// (16 KiB, the first-level cache) at a time for all of its rows.
class PackedGram {
 public:
  static constexpr std::int64_t panel_columns = 32;
  /// `multiply` takes whole tiles of rows.
  static constexpr std::int64_t tile_rows = 8;
  /// As many rows as are worth reading H once for, and whose part of a block stays in the second-level cache.
  static constexpr std::int64_t group_rows = 128;
  /// Rows of the groups in which `threads` share the multiplication of `rows` rows: whole tiles.
  [[nodiscard]] static std::int64_t rows_of_group(std::int64_t rows, int threads) {
    const std::int64_t share = (rows + threads - 1) / threads;
    return std::min(group_rows, (share + tile_rows - 1) / tile_rows * tile_rows);
  }

  /// From the lower triangle of H (entry (a, b <= a) at a (a + 1) / 2 + b), divided by its mean diagonal
  /// entry, plus `damping` on the diagonal. Throws DataError on NaN or infinity. A zero H becomes I.
  PackedGram(std::span<const double> lower, double damping);

  [[nodiscard]] std::int64_t columns() const { return columns_; }  ///< D
  /// D rounded up to whole panels: the length of rows in `multiply`, zero beyond D.
  [[nodiscard]] std::int64_t padded_columns() const { return panels_ * panel_columns; }
  [[nodiscard]] double damping() const { return damping_; }
  /// What H was divided by.
  [[nodiscard]] double unit() const { return unit_; }
  /// max over columns of sum_p |H_pq|: |e^T H|_q <= max |e| * this.
  [[nodiscard]] double largest_column_sum() const { return largest_column_sum_; }
  [[nodiscard]] float at(std::int64_t row, std::int64_t column) const {
    return panels_data_[static_cast<std::size_t>((column / panel_columns * columns_ + row) * panel_columns +
                                                 column % panel_columns)];
  }

  /// out = in H for `rows` rows (a multiple of tile_rows) of padded_columns() floats: each entry is a chain
  /// of fused multiply-adds over p = 0, 1, ... D-1, whatever the number of rows. Work: rows D^2
  /// multiply-adds; bytes: 4 D^2 of H once, from memory.
  void multiply(const float* in, std::int64_t rows, float* out) const;

  /// row_q += sum_i delta_i H_(first + i)q, in the order of i, for each of the rows. The rows of H are read
  /// once for all of them.
  struct RowUpdate {
    float* row;          ///< padded_columns() floats
    const float* delta;  ///< `count` floats
  };
  void add_rows(std::span<const RowUpdate> updates, std::int64_t first, std::int64_t count) const;

 private:
  std::int64_t columns_ = 0, panels_ = 0;
  AlignedVector<float> panels_data_;
  double unit_ = 1, damping_ = 0;
  double largest_column_sum_ = 0;
};

}  // namespace bitfall
