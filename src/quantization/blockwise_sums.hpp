#pragma once
/// The inner loops of the blockwise M-step (blockwise_update.hpp). SIMD, the same bits on every machine.
#include <cstddef>
#include <cstdint>
#include <span>

#include "quantization/kmeans_blocks.hpp"

namespace bitfall {

/// Rows of values of one position start at multiples of this many doubles.
constexpr std::int64_t padded_dimension(std::int64_t d) {
  return (d + 7) / 8 * 8;
}

/// sums_i += factor v_i for one block, the product rounded, then the sum; what lies between d and its padding
/// stays.
void add_scaled_block(const float* block, double factor, std::int64_t d, double* sums);

/// What clusters with one weight add at one position.
struct ClusterTerms {
  std::int64_t d = 0;
  std::span<const std::int64_t> triangle;  ///< the lower triangle of n G, rounded
  const double* columns = nullptr;         ///< d rows of padded_dimension(d): G^T
  double vector_scale = 1;                 ///< G s is multiplied by it and rounded to integers
};

/// For each of `codes`, in the row of sums that belongs to it: sums += triangle, and after that G s, in the
/// order of s, s being the code's row of `values` (padded_dimension(d) each).
void add_clusters(const ClusterTerms& terms, std::span<const std::size_t> codes, const double* values,
                  std::int64_t* sums);

}  // namespace bitfall
