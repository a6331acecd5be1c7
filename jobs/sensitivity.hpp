#pragma once
/// How much the network's output suffers from the error of each layer.
#include <ATen/core/Tensor.h>

#include <vector>

#include "bitfall/network.hpp"
#include "bitfall/quantized_layer.hpp"
#include "job.hpp"

namespace bitfall {

/// KL(network || network with this one layer quantized), mean over the images of all ranks, nats, for each of
/// `layers`. One forward pass of the images for each layer (collective). The network is afterwards what it
/// was.
[[nodiscard]] std::vector<double> measure_sensitivities(Network& network,
                                                        const std::vector<QuantizedLayer>& layers,
                                                        const std::vector<at::Tensor>& micro_batches,
                                                        JobContext& context);

}  // namespace bitfall
