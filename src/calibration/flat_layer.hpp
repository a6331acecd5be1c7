#pragma once
/// Convolutions over one and three dimensions as convolutions over two, which have the same unfolded rows.
#include <ATen/core/Tensor.h>

#include "bitfall/layer.hpp"

namespace bitfall {

/// - 1-d, kernel [k]: the kernel [1, k] over planes of one row.
/// - 3-d, kernel [kd, kh, kw]: the kernel [kh, kw] over C * kd channels; channel c * kd + i of a plane is
/// channel
///   c at depth z * stride - padding + i * dilation, and each output depth z is an image of its own.
/// The order of the columns (channel, kernel elements) is the same. Other layers come back as they are.
[[nodiscard]] Layer flat_layer(const Layer& layer);

/// The input of flat_layer(layer): contiguous floats, with a batch dimension. For 3-d kernels that holds each
/// input value up to kd times. Throws DataError naming the layer when the input does not fit.
[[nodiscard]] at::Tensor flat_input(const Layer& layer, const at::Tensor& input);

}  // namespace bitfall
