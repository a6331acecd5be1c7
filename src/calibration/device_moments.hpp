#pragma once
/// Second moments of inputs that lie on a device, and channel sums there by LibTorch's own operators.
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "bitfall/layer.hpp"
#include "parallel/array_work.hpp"

namespace bitfall {

/// Whether no input lies on a device: then threads share the work.
[[nodiscard]] bool all_on_host(std::span<const at::Tensor> inputs);

/// Of one micro-batch, on the input's device: for each of the m = D/d groups of d unfolded columns x_j the
/// upper triangle of the sum over images and output positions of x_j x_j^T, [m, d (d + 1) / 2] in double.
/// Float sums over up to 256 positions, double beyond (ArrayWork::block_moments): the same bits for the same
/// micro-batch.
[[nodiscard]] at::Tensor device_moments(const Layer& layer, const at::Tensor& input, std::int64_t d,
                                        const ArrayWork& arrays);

/// For each channel of [N, C, ...] the sum over images and positions of (x - centers[channel])^power; double,
/// on the input's device.
[[nodiscard]] at::Tensor device_channel_sums(const at::Tensor& input, const at::Tensor& centers, int power);

}  // namespace bitfall
