#include "quantization/box_order.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "bitfall/errors.hpp"

namespace bitfall {
namespace {

/// Sorts `order` so that every aligned run of 16 is a leaf.
class Splitter {
 public:
  explicit Splitter(const TiledBlocks& points)
      : d_(points.d),
        rows_(static_cast<std::size_t>(points.count * points.d)),
        keys_(static_cast<std::size_t>(points.count)) {
    for (std::int64_t i = 0; i < points.count; ++i)
      for (std::int64_t j = 0; j < d_; ++j)
        rows_[static_cast<std::size_t>(i * d_ + j)] =
            points
                .tiles[static_cast<std::size_t>((i / tile_points * d_ + j) * tile_points + i % tile_points)];
  }

  void split(std::span<std::int32_t> order) {
    const auto count = static_cast<std::int64_t>(order.size());
    if (count <= tile_points) return;
    const std::int64_t axis = widest_axis(order);
    const std::int64_t half = std::min((count / tile_points + 1) / 2 * tile_points, count - 1);
    // The coordinate beside the index: the selection then reads memory in order.
    for (std::size_t i = 0; i < order.size(); ++i) keys_[i] = {at(order[i], axis), order[i]};
    const auto first = keys_.begin();
    std::nth_element(first, first + half, first + count);
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = keys_[i].second;
    split(order.first(static_cast<std::size_t>(half)));
    split(order.subspan(static_cast<std::size_t>(half)));
  }

 private:
  [[nodiscard]] float at(std::int32_t point, std::int64_t axis) const {
    return rows_[static_cast<std::size_t>(point * d_ + axis)];
  }

  /// The axis of the largest variance, of some 64 of the points.
  [[nodiscard]] std::int64_t widest_axis(std::span<const std::int32_t> order) const {
    const std::size_t step = std::max<std::size_t>(1, order.size() / 64);
    std::int64_t widest = 0;
    double largest = -1;
    for (std::int64_t axis = 0; axis < d_; ++axis) {
      double sum = 0, squares = 0, number = 0;
      for (std::size_t i = 0; i < order.size(); i += step) {
        const auto value = static_cast<double>(at(order[i], axis));
        sum += value;
        squares += value * value;
        number += 1;
      }
      const double variance = squares - sum * sum / number;
      if (variance > largest) {
        largest = variance;
        widest = axis;
      }
    }
    return widest;
  }

  std::int64_t d_;
  std::vector<float> rows_;
  std::vector<std::pair<float, std::int32_t>> keys_;
};

}  // namespace

BoxOrder order_by_boxes(const TiledBlocks& points) {
  BITFALL_ASSERT(points.count <= (std::int64_t{1} << 31) - 1, "points of one rank");
  BoxOrder boxes;
  boxes.order.resize(static_cast<std::size_t>(points.count));
  std::iota(boxes.order.begin(), boxes.order.end(), 0);
  Splitter(points).split(boxes.order);
  boxes.points.d = points.d;
  boxes.points.first = points.first;
  boxes.points.count = points.count;
  boxes.points.largest_norm2 = points.largest_norm2;
  boxes.points.tiles.assign(points.tiles.size(), 0.0f);
  const std::int64_t d = points.d;
  // Padding lies at zero, and so do the boxes of tiles that hold nothing else.
  boxes.low.assign(static_cast<std::size_t>(points.groups() * (group_points / tile_points) * d), 0.0f);
  boxes.high.assign(boxes.low.size(), 0.0f);
  for (std::int64_t i = 0; i < points.count; ++i) {
    copy_point(points.tiles.data(), boxes.order[static_cast<std::size_t>(i)], d, boxes.points.tiles.data(),
               i);
    const float* point = boxes.points.tiles.data() + i / tile_points * d * tile_points + i % tile_points;
    float* low = boxes.low.data() + i / tile_points * d;
    float* high = boxes.high.data() + i / tile_points * d;
    for (std::int64_t j = 0; j < d; ++j) {
      const float value = point[j * tile_points];
      low[j] = i % tile_points == 0 ? value : std::min(low[j], value);
      high[j] = i % tile_points == 0 ? value : std::max(high[j], value);
    }
  }
  return boxes;
}

bool boxes_pay(std::int64_t count, std::int64_t k, std::int64_t d) {
  // Eight points or more for every codeword, or the boxes are no smaller than the codewords' cells.
  return d == box_dimension && k >= 512 && count >= 8 * k;
}

}  // namespace bitfall
