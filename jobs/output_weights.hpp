#pragma once
/// How much each output channel of a layer matters to the network's loss.
#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

#include "bitfall/network.hpp"
#include "job.hpp"

namespace bitfall {

/// For each layer that `network` computes in steps of its own: sum over images and positions of (dL/dy_r)^2
/// for each row r, y the layer's output at its first use and L the cross-entropy of labels drawn from the
/// network's own softmax: the diagonal of the output factor of a Kronecker-factored Fisher matrix (Martens
/// and Grosse, ICML 2015, section 2). One forward and one backward pass.
/// `micro_batches`: this rank's images, `first_image` the index of the first among those of all ranks: the
/// labels depend on (seed, index) alone. Sums are exact (collective).
[[nodiscard]] std::map<std::string, std::vector<double>> measure_output_weights(
    const Network& network, const std::vector<at::Tensor>& micro_batches, std::int64_t first_image,
    const JobContext& context);

}  // namespace bitfall
