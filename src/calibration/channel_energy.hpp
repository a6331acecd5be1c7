#pragma once
/// How much the channels of a layer's input carry.
#include <ATen/core/Tensor.h>

#include <span>
#include <vector>

#include "bitfall/communicator.hpp"
#include "bitfall/layer.hpp"

namespace bitfall {

/// sum x_c^2 of each input channel over images and positions of all ranks: what the row of that channel
/// counts in a transposed convolution. Exact sums (collective); throws DataError as accumulate_gram does.
[[nodiscard]] std::vector<double> accumulate_channel_energies(const Layer& layer,
                                                              std::span<const at::Tensor> inputs, int threads,
                                                              const Communicator& communicator);

}  // namespace bitfall
