#pragma once
/// A layer's input as unfolded rows: what both kinds of Gram matrices read.
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>

#include "bitfall/layer.hpp"
#include "calibration/unfold.hpp"
#include "parallel/array_work.hpp"

namespace bitfall {

/// The layer's window over `input`, a [N, C, H, W] tensor. Throws DataError naming the layer when they do not
/// fit.
[[nodiscard]] WindowShape window_shape(const Layer& layer, const at::Tensor& input);

/// DataError: the layer's input has a shape that does not fit / values that are NaN or infinite.
[[noreturn]] void refuse_input(const Layer& layer, const at::Tensor& input);
/// `inputs` of this rank, `names` of its images; the first bad one is named.
[[noreturn]] void throw_bad_input(const Layer& layer, std::span<const at::Tensor> inputs,
                                  std::span<const std::string> names);

/// Where the D columns of one unfolded row lie in an input. For linear layers ([..., D]) the first dimension
/// counts as images and the others as positions.
class LayerWindow {
 public:
  LayerWindow(const Layer& layer, const at::Tensor& input);
  [[nodiscard]] std::int64_t images() const { return images_; }
  [[nodiscard]] std::int64_t groups() const { return groups_; }
  [[nodiscard]] std::int64_t positions() const { return positions_; }
  /// Copies the row's columns (order: channel, kernel row, kernel column) to `out`; outside the image is 0.
  void gather_row(const float* data, std::int64_t image, std::int64_t group, std::int64_t position,
                  float* out) const;

 private:
  bool linear_;
  WindowShape shape_;
  std::int64_t images_ = 0, groups_ = 1, positions_ = 0, columns_ = 0;
};

}  // namespace bitfall
