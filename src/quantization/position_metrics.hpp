#pragma once
/// The Gram matrices of all positions of a row on one scale.
#include <cstdint>
#include <span>
#include <vector>

#include "bitfall/metric.hpp"

namespace bitfall {

class PositionMetrics {
 public:
  /// `grams` is m x d x d. They are divided by their mean trace / d. Throws DataError on NaN or infinity.
  PositionMetrics(std::span<const double> grams, std::int64_t d);

  [[nodiscard]] std::int64_t d() const { return d_; }
  [[nodiscard]] std::int64_t positions() const { return static_cast<std::int64_t>(whitenings_.size()); }
  /// L_j of G_j scaled to trace d: whitened squared errors must be multiplied by weight(j).
  [[nodiscard]] const Whitening& whitening(std::int64_t j) const {
    return whitenings_[static_cast<std::size_t>(j)];
  }
  /// trace(G_j) / d; 0 for a dead position.
  [[nodiscard]] double weight(std::int64_t j) const { return weights_[static_cast<std::size_t>(j)]; }
  /// G_j, d x d.
  [[nodiscard]] std::span<const double> gram(std::int64_t j) const {
    return std::span(grams_).subspan(static_cast<std::size_t>(j * d_ * d_),
                                     static_cast<std::size_t>(d_ * d_));
  }
  [[nodiscard]] double largest_entry() const { return largest_; }  ///< of all G_j, in magnitude
  /// What all matrices were divided by.
  [[nodiscard]] double unit() const { return unit_; }

 private:
  std::int64_t d_;
  std::vector<double> grams_;
  std::vector<Whitening> whitenings_;
  std::vector<double> weights_;
  double largest_ = 0;
  double unit_ = 1;
};

}  // namespace bitfall
