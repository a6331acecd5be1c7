#include "size_budget.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "bitfall/errors.hpp"

namespace bitfall {

namespace {

std::vector<std::vector<RatePoint>> points_from(const std::vector<SearchedLayer>& layers, std::size_t first) {
  std::vector<std::vector<RatePoint>> points;
  for (std::size_t i = first; i < layers.size(); ++i) points.push_back(layers[i].points);
  return points;
}

}  // namespace

SizeBudget::SizeBudget(std::vector<SearchedLayer> layers, std::int64_t budget)
    : layers_(std::move(layers)), rest_(budget) {
  auto chosen = choose_points(points_from(layers_, 0), budget);
  BITFALL_ASSERT(chosen.has_value(), "a budget below the smallest choices");
  chosen_ = std::move(*chosen);
}

std::size_t SizeBudget::place_of(std::size_t index) const {
  const auto found = std::find_if(layers_.begin(), layers_.end(),
                                  [&](const SearchedLayer& layer) { return layer.index == index; });
  BITFALL_ASSERT(found != layers_.end(), "layer " + std::to_string(index) + " was not searched");
  return static_cast<std::size_t>(found - layers_.begin());
}

std::int64_t SizeBudget::planned_bytes() const {
  std::int64_t bytes = 0;
  for (std::size_t i = 0; i < layers_.size(); ++i) bytes += point(i).bytes;
  return bytes;
}

bool SizeBudget::settle(std::size_t layer, std::int64_t bytes) {
  const auto chosen = choose_points(points_from(layers_, layer + 1), rest_ - bytes);
  if (!chosen) {
    const RatePoint now = point(layer);
    std::optional<std::size_t> smaller;  // the largest below
    for (std::size_t i = 0; i < layers_[layer].points.size(); ++i) {
      const RatePoint& other = layers_[layer].points[i];
      if (other.bytes < now.bytes && (!smaller || other.bytes > layers_[layer].points[*smaller].bytes))
        smaller = i;
    }
    if (smaller) {
      chosen_[layer] = *smaller;
      return false;
    }
  }
  rest_ -= bytes;
  for (std::size_t i = layer + 1; chosen && i < layers_.size(); ++i) chosen_[i] = (*chosen)[i - layer - 1];
  return true;
}

}  // namespace bitfall
