#pragma once
/// The covariance of a weight's blocks while columns change places.
#include <cstdint>
#include <span>
#include <vector>

namespace bitfall {

/// C = 1/n sum_blocks (v - mean)(v - mean)^T over all n = rows * m blocks of a weight whose columns are in
/// some order. Columns meet in pairs only, so everything follows from the second moments W^T W of the
/// columns: n C + n mean mean^T = sum_j (W^T W)[columns of block j, columns of block j].
class BlockCovariance {
 public:
  /// `weight`: rows x columns, C order. `ridge` > 0: relative to the mean diagonal entry of C, added to it in
  /// log_determinant(). Work: rows * columns^2 / 2 multiply-adds; memory: 4 * columns^2 bytes.
  BlockCovariance(std::span<const float> weight, std::int64_t rows, std::int64_t d, double ridge);

  /// log det(C + ridge).
  [[nodiscard]] double log_determinant() const;
  /// Column order[i] of the weight stands at place i.
  void set_order(std::vector<std::int64_t> order);
  [[nodiscard]] const std::vector<std::int64_t>& order() const { return order_; }
  /// The columns at places [a, a + width) and [b, b + width) change places.
  struct Swap {
    std::int64_t a = 0, b = 0, width = 0;
  };
  /// C follows: with two blocks of 9-column channels at d = 18 by 4 * 171 additions, from 4 * 36 stretches of
  /// nine neighbours in memory.
  void swap(Swap swap);

  /// What swaps change, to go back without rounding.
  struct State {
    std::vector<double> sums, means;
  };
  void save(State& state) const;
  /// Undoes the swaps since save(), given in the order in which they were made.
  void restore(const State& state, std::span<const Swap> swaps);

  /// The mean square of a column of the weight (not of a place) / the sum over all columns.
  [[nodiscard]] double column_moment(std::int64_t column) const;
  [[nodiscard]] double total_moment() const;
  [[nodiscard]] std::int64_t d() const { return d_; }

 private:
  void exchange(const Swap& swap);
  void add_block(std::int64_t block, double sign);
  void sum_all();

  std::int64_t rows_, columns_, d_;
  double ridge_ = 0;                 ///< absolute
  std::vector<float> moments_;       ///< W^T W, columns x columns
  std::vector<double> column_sums_;  ///< by column of the weight
  std::vector<std::int64_t> order_;
  std::vector<double> sums_;            ///< d x d, lower triangle: sum of v v^T
  std::vector<double> means_;           ///< d: sum of v
  mutable std::vector<double> factor_;  ///< scratch of log_determinant
};

}  // namespace bitfall
