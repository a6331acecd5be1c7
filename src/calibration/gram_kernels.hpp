#pragma once
/// The inner loop of Gram matrices: sums of products of d rows of floats. No
/// LibTorch here.
#include <cstdint>
#include <span>
#include <vector>

namespace bitfall {

/// Number of pairs a <= b < d; pair (a, b) has the index a*d - a(a-1)/2 +
/// (b-a).
[[nodiscard]] constexpr std::int64_t pair_count(std::int64_t d) {
  return d * (d + 1) / 2;
}

/// Float lanes of one sum, the same on every processor, so that every processor
/// with fused multiply-add adds in the same order and gets the same bits.
inline constexpr std::int64_t product_lanes = 16;

/// sums[pair] = sum over positions p of row_a[p] * row_b[p], for all pairs a <=
/// b of d rows.
///
/// 16 float lanes per pair run over at most 32 products each, then are added to
/// 16 double lanes; so the rounding error is that of float products, not of
/// float sums over a whole image.
class ProductSums {
 public:
  explicit ProductSums(std::int64_t d);

  /// Adds `length` positions of the d rows `rows[0..d)`. `mask`, if any, has
  /// all bits set or none for each position, and excludes the latter.
  void add(std::span<const float* const> rows, std::int64_t length, const float* mask = nullptr);
  /// Adds the sums to `sums` (pair_count(d) of them) and starts again from
  /// zero.
  void finish(std::span<double> sums);

 private:
  void flush();

  std::int64_t d_;
  std::int64_t pending_ = 0;           ///< vectors in lanes_ since the last flush
  std::vector<float> lanes_;           ///< pair_count x product_lanes
  std::vector<double> wide_;           ///< the same, in double
  std::vector<float> tail_;            ///< d x product_lanes, zero behind the last position
  std::vector<float> tail_mask_;       ///< product_lanes
  std::vector<const float*> shifted_;  ///< rows from the current position on
};

/// A float whose bits are all set: a mask entry that keeps a position.
[[nodiscard]] float keep_mask();

}  // namespace bitfall
