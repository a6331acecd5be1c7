#pragma once
/// The passes over all points that k-means++ consists of. SIMD, the same bits on every machine.
#include <cstdint>
#include <span>

#include "bitfall/exact_sum.hpp"
#include "quantization/kmeans_blocks.hpp"

namespace bitfall {

/// A scale for sums of squared distances: to_integer(distance) stays below 2^50, so that the kernels may
/// round by adding 1.5 * 2^52.
[[nodiscard]] FixedPoint distance_scale(double largest, std::int64_t points);

/// distances_i = min(distances_i, |v_i - c|^2), the square as a chain of fused multiply-adds in index order;
/// group_sums_g = sum over the group of to_integer(distances_i). Padding has distance 0 and keeps it.
/// Bytes: 4 (d + 2) a point; work: 2 d + 3 operations.
void update_distances(const float* points, std::int64_t groups, std::int64_t d, const float* candidate,
                      const FixedPoint& scale, float* distances, std::int64_t* group_sums);

/// sums_l += sum over all points of to_integer(min(distances_i, |v_i - c_l|^2)), for L candidates (L x d), in
/// one pass over the points.
void add_candidate_sums(const float* points, std::int64_t groups, std::int64_t d, const float* candidates,
                        const FixedPoint& scale, const float* distances, std::span<std::int64_t> sums);

}  // namespace bitfall
