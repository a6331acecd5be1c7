#pragma once
/// Unfolded rows and exact sums of products where the inputs lie.
#include <ATen/core/Tensor.h>

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "bitfall/exact_sum.hpp"
#include "bitfall/layer.hpp"
#include "calibration/layer_window.hpp"
#include "parallel/array_work.hpp"

namespace bitfall {

/// The layer's window over `input`, contiguous floats: what LayerWindow is on the host. Throws DataError as
/// window_shape.
[[nodiscard]] RowWindow row_window(const Layer& layer, const at::Tensor& input);

/// The values at `rows` of outputs [N, channels, H, W]: [channels, count].
[[nodiscard]] at::Tensor outputs_at(const at::Tensor& outputs, std::span<const RowAddress> rows);

/// Sums of float products as integers of one scale: the same bits in any order.
class DeviceSums {
 public:
  /// `arrays` may be null as long as nothing is added.
  DeviceSums(const FixedPoint& scale, const ArrayWork* arrays)
      : factor_(std::ldexp(1.0, scale.exponent())), arrays_(arrays) {}
  /// The lower triangle of X^T X, X [count, columns]: as FullGram has it.
  void add_square(const at::Tensor& x);
  /// Y X, Y [rows, count] and X [count, columns], in C order.
  void add_product(const at::Tensor& y, const at::Tensor& x);
  /// What was summed; empty when nothing was.
  [[nodiscard]] std::vector<std::int64_t> values() const;

 private:
  void prepare(const at::Tensor& x, std::int64_t products, std::int64_t sums);

  double factor_;
  const ArrayWork* arrays_;
  at::Tensor product_, sums_;
};

}  // namespace bitfall
