#pragma once
/// Unfolded rows and exact sums of products where the inputs lie, by LibTorch's operators there.
#include <ATen/core/Tensor.h>

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "bitfall/exact_sum.hpp"
#include "bitfall/layer.hpp"
#include "calibration/layer_window.hpp"

namespace bitfall {

/// One input, ready for its rows to be taken out.
class DeviceRows {
 public:
  /// `input`: [N, C, H, W] or [..., D] floats. Throws DataError as window_shape.
  DeviceRows(const Layer& layer, const at::Tensor& input);
  /// [count, D]: LayerWindow::gather_row of each address.
  [[nodiscard]] at::Tensor gather(std::span<const RowAddress> rows) const;

 private:
  bool linear_;
  std::int64_t columns_, channels_ = 0;
  std::int64_t positions_ = 0;   ///< of an image of a linear layer
  std::int64_t row_length_ = 0;  ///< of a convolution's output
  WindowShape shape_;            ///< of the padded planes
  at::Tensor flat_;              ///< the values, with the padding around each plane
  at::Tensor offsets_;           ///< [D]: of each column from a row's first value
};

/// The values at `rows` of outputs [N, channels, H, W]: [channels, count].
[[nodiscard]] at::Tensor outputs_at(const at::Tensor& outputs, std::span<const RowAddress> rows);

/// Sums of float products as integers of one scale: the same bits in any order.
class DeviceSums {
 public:
  explicit DeviceSums(const FixedPoint& scale) : factor_(std::ldexp(1.0, scale.exponent())) {}
  /// Rounds each value once. Bytes: 4 read, 8 added to, and two temporaries of 8, per value.
  void add(const at::Tensor& product);
  /// What was summed, in C order; empty when nothing was.
  [[nodiscard]] std::vector<std::int64_t> values() const;

 private:
  double factor_;
  at::Tensor sums_;
};

}  // namespace bitfall
