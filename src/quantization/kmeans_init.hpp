#pragma once
/// k-means++ over whitened points (Arthur and Vassilvitskii, SODA 2007), greedy where that is affordable.
#include <cstdint>
#include <vector>

#include "bitfall/kmeans.hpp"
#include "quantization/kmeans_blocks.hpp"

namespace bitfall {

/// Indices of `k` points. Every rank computes all of it (it costs about one E-step, or 2 + ln k of them when
/// greedy): the draws come from Philox and integer sums of squared distances, so they depend on nothing but
/// the arguments.
[[nodiscard]] std::vector<std::int64_t> kmeans_plus_plus(const TiledBlocks& points, std::int64_t k,
                                                         const KmeansParameters& parameters);

}  // namespace bitfall
