#pragma once
/// The bytes of a compression: what a search has promised, and what the layers have really cost so far.
#include <cstdint>
#include <optional>
#include <vector>

#include "bitfall/plan.hpp"
#include "src/quantization/rate_distortion.hpp"

namespace bitfall {

/// A layer and the ways to quantize it, measured.
struct SearchedLayer {
  std::size_t index = 0;          ///< of the plan's layers
  std::vector<LayerPlan> plans;   ///< the choices
  std::vector<RatePoint> points;  ///< what they cost and do
};

/// Layers come in the order of `layers`. After each one the rest is planned again for what is left, so that a
/// layer which costs more or less than promised is made up for.
class SizeBudget {
 public:
  /// `budget`: bytes of all codes and codebooks. Asserts that the smallest choices fit.
  SizeBudget(std::vector<SearchedLayer> layers, std::int64_t budget);

  [[nodiscard]] const std::vector<SearchedLayer>& layers() const { return layers_; }
  /// The place in layers() of layer `index` of the plan.
  [[nodiscard]] std::size_t place_of(std::size_t index) const;
  /// The choice for each layer now.
  [[nodiscard]] std::size_t choice(std::size_t layer) const { return chosen_[layer]; }
  [[nodiscard]] const LayerPlan& plan(std::size_t layer) const {
    return layers_[layer].plans[chosen_[layer]];
  }
  [[nodiscard]] const RatePoint& point(std::size_t layer) const {
    return layers_[layer].points[chosen_[layer]];
  }
  [[nodiscard]] std::int64_t planned_bytes() const;

  /// The next layer has cost so many bytes. True: the rest fits, and is planned again. False: it does not
  /// even with the smallest choices; then the layer has a smaller choice now, to be tried instead, unless
  /// there is none (which is taken as it is).
  bool settle(std::size_t layer, std::int64_t bytes);

 private:
  std::vector<SearchedLayer> layers_;
  std::vector<std::size_t> chosen_;
  std::int64_t rest_;  ///< bytes for the layers that have not been settled
};

}  // namespace bitfall
