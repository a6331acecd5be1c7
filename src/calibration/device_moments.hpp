#pragma once
/// Second moments of inputs that lie on a device, by LibTorch's own operators there.
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "bitfall/layer.hpp"

namespace bitfall {

/// Whether no input lies on a device: then threads share the work.
[[nodiscard]] bool all_on_host(std::span<const at::Tensor> inputs);

/// Of one micro-batch: sum over images and output positions of x_j x_j^T, for each of the m = D/d groups of d
/// unfolded columns x_j: [m, d, d], or [1, d, d] summed over j when not `per_position`; double, on the
/// input's device.
///
/// Products are float32 sums over one image's positions (cuBLAS, no TF32), their sums over images and groups
/// double: the same bits for the same micro-batch on the same kind of device. Operations: 2 D d for each
/// unfolded row; bytes: 4 D for each row, written once by the unfolding and read twice. A 1x1 convolution is
/// not unfolded.
[[nodiscard]] at::Tensor device_moments(const Layer& layer, const at::Tensor& input, std::int64_t d,
                                        bool per_position);

/// For each channel of [N, C, ...] the sum over images and positions of (x - centers[channel])^power; double,
/// on the input's device.
[[nodiscard]] at::Tensor device_channel_sums(const at::Tensor& input, const at::Tensor& centers, int power);

}  // namespace bitfall
