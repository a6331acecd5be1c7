#pragma once
/// Points in the order of their norms, so that those of a group share a scale and a range of codewords.
#include <cstdint>
#include <vector>

#include "quantization/kmeans_blocks.hpp"

namespace bitfall {

/// TiledBlocks rearranged.
struct PointOrder {
  TiledBlocks points;
  std::vector<std::int32_t> order;  ///< place in `points` -> place before
};

/// By |v|^2 to 1 %, equal ones as they were. Work: three passes over the points.
[[nodiscard]] PointOrder order_by_norm(const TiledBlocks& points);

}  // namespace bitfall
