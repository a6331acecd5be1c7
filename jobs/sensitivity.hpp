#pragma once
/// How much the network's output suffers from the error of each layer.
#include <ATen/core/Tensor.h>

#include <vector>

#include "bitfall/network.hpp"
#include "bitfall/quantized_layer.hpp"
#include "job.hpp"

namespace bitfall {

/// KL(network || network with this one layer quantized), mean over the images of all ranks, nats, for each of
/// `layers`, in the order in which the network first uses them. For each, the images run on from that layer
/// to the end (collective). Memory: twice the values between two steps. The network is afterwards what it
/// was.
[[nodiscard]] std::vector<double> measure_sensitivities(Network& network,
                                                        const std::vector<QuantizedLayer>& layers,
                                                        const std::vector<at::Tensor>& micro_batches,
                                                        JobContext& context);

}  // namespace bitfall
