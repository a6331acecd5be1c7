#include "quantization/point_order.hpp"

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <limits>

#include "bitfall/errors.hpp"

namespace bitfall {
namespace {

/// Sign, exponent and the leading seven bits of the mantissa: non-negative floats have the order of their
/// bits.
constexpr int dropped_bits = 16;
constexpr std::size_t buckets = (std::size_t{1} << (31 - dropped_bits)) + 1;

std::size_t bucket_of(const TiledBlocks& points, std::int64_t i) {
  const float* point = points.tiles.data() + i / tile_points * points.d * tile_points + i % tile_points;
  float norm2 = 0;
  for (std::int64_t j = 0; j < points.d; ++j) norm2 += point[j * tile_points] * point[j * tile_points];
  return std::bit_cast<std::uint32_t>(norm2) >> dropped_bits;
}

}  // namespace

PointOrder order_by_norm(const TiledBlocks& points) {
  BITFALL_ASSERT(points.count <= std::numeric_limits<std::int32_t>::max(), "points of one rank");
  const auto count = static_cast<std::size_t>(points.count);
  std::vector<std::uint16_t> bucket(count);
  std::vector<std::int32_t> next(buckets, 0);  // the place of a bucket's next point
  for (std::size_t i = 0; i < count; ++i) {
    bucket[i] = static_cast<std::uint16_t>(bucket_of(points, static_cast<std::int64_t>(i)));
    ++next[bucket[i] + std::size_t{1}];
  }
  for (std::size_t b = 1; b < buckets; ++b) next[b] += next[b - 1];

  PointOrder ordered;
  ordered.order.resize(count);
  ordered.points = {points.d, points.first, points.count, {}, points.largest_norm2};
  ordered.points.tiles.assign(points.tiles.size(), 0.0f);
  for (std::size_t i = 0; i < count; ++i) {
    const std::int32_t place = next[bucket[i]]++;
    ordered.order[static_cast<std::size_t>(place)] = static_cast<std::int32_t>(i);
    copy_point(points.tiles.data(), static_cast<std::int64_t>(i), points.d, ordered.points.tiles.data(),
               place);
  }
  return ordered;
}

}  // namespace bitfall
