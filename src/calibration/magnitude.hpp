#pragma once
/// The largest value of many tensors: what the scale of an exact sum is chosen by.
#include <ATen/core/Tensor.h>

#include <span>

namespace bitfall {

/// max |x| of all values of contiguous float tensors, where they lie; infinity when one is NaN or infinite.
/// Bytes: 4 read per value.
[[nodiscard]] double largest_magnitude(std::span<const at::Tensor> tensors, int threads);

}  // namespace bitfall
