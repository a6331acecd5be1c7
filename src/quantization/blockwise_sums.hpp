#pragma once
/// The inner loops of the blockwise M-step (blockwise_update.hpp). SIMD, the same bits on every machine.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "quantization/kmeans_blocks.hpp"

namespace bitfall {

/// `count` rounded up to whole vectors, so that loops have no rests.
constexpr std::int64_t padded_count(std::int64_t count) {
  return (count + 7) / 8 * 8;
}

/// For each cluster, n = sum of w and s = sum of w v over some of its members at one position.
struct MemberSums {
  MemberSums(std::int64_t k, std::int64_t d)
      : weights(static_cast<std::size_t>(k), 0.0),
        values(static_cast<std::size_t>(k * padded_count(d)), 0.0) {}
  std::vector<double> weights;
  AlignedVector<double> values;  ///< rows of padded_count(d), zeros behind d
};

/// Adds the given rows of a position's blocks (rows x d) to the clusters that `codes` names, in this order:
/// s_i += w v_i, the product rounded, then the sum. Each row has a code and a weight.
void add_members(const float* blocks, std::int64_t d, std::span<const std::int32_t> rows,
                 const std::int32_t* codes, const double* weights, MemberSums& sums);

/// One position's G, and the n G that its clusters share: without row weights n is a small number of members.
struct PositionGram {
  static constexpr std::int64_t kept_multiples = 16;  ///< n G is kept for n = 0 ... 15

  explicit PositionGram(std::int64_t dimension);
  /// `entries` is d x d, symmetric.
  void set(std::span<const double> entries);
  [[nodiscard]] std::int64_t padded_triangle() const { return padded_count(d * (d + 1) / 2); }

  std::int64_t d;
  AlignedVector<double> triangle;         ///< the lower one, row by row, padded with zeros
  AlignedVector<double> columns;          ///< d rows of padded_count(d)
  AlignedVector<std::int64_t> multiples;  ///< rounded triangles of n G, padded, and two more to work on
  std::uint32_t known = 0;                ///< bit n: multiples has n G
};

/// n G and G s are multiplied by powers of two and rounded to integers.
struct SumScales {
  double matrix = 1, vector = 1;
};

/// A cluster whose members at a position have changed: sums (those of the padded triangle, then
/// padded_count(d) of the vector) += n G, G s of what it gained - the same of what it lost. G s is summed in
/// the order of s. 2 d^2 multiply-adds. gained and lost are left at 0.
struct ClusterChange {
  double gained_weight = 0, lost_weight = 0;
  double* gained = nullptr;
  double* lost = nullptr;
  std::int64_t* sums = nullptr;
};
void apply_changes(PositionGram& gram, const SumScales& scales, std::span<const ClusterChange> changes);

}  // namespace bitfall
