#pragma once
/// Sums that do not depend on the order of their addends.
///
/// Every sum that decides something (Gram matrices, cluster sums, objectives) is formed in 64-bit integers:
/// each addend x is rounded once to round(x * 2^s), with one s for the whole sum, known beforehand. Integer
/// addition is associative, so threads, ranks and devices may add in any order and get the same bits.
#include <cmath>
#include <cstdint>

namespace bitfall {

/// The scale 2^exponent shared by all addends of one sum.
class FixedPoint {
 public:
  /// A scale with which `addends` values of magnitude at most `largest` can't overflow:
  /// the largest s with addends * largest * 2^s <= 2^62. `largest` = 0 gives s = 0.
  /// Throws DataError when `largest` is not finite.
  static FixedPoint for_sum(double largest, std::int64_t addends);

  [[nodiscard]] int exponent() const noexcept { return exponent_; }
  /// round-half-even(x * 2^s). |x| must not exceed the `largest` given to for_sum.
  [[nodiscard]] std::int64_t to_integer(double x) const noexcept { return std::llrint(x * scale_); }
  [[nodiscard]] double to_double(std::int64_t sum) const noexcept {
    return static_cast<double>(sum) * inverse_;
  }

 private:
  explicit FixedPoint(int exponent);
  int exponent_;
  double scale_;    ///< 2^exponent
  double inverse_;  ///< 2^-exponent
};

}  // namespace bitfall
