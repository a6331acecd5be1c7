#pragma once
/// How far each quantized layer's output is from what its original weight would give on the same inputs.
#include <string>
#include <vector>

#include "bitfall/calibration.hpp"
#include "bitfall/network.hpp"

namespace bitfall {

struct LayerError {
  std::string layer;
  double relative = 0;  ///< |X (W - What)|^2 / |X W|^2 over all images, X the inputs in the quantized network
};

/// One walk of `student` over the images; `teacher` is the same network before quantization (collective).
/// Squared norms are summed in fixed point per micro-batch, so the result does not depend on ranks or
/// threads.
[[nodiscard]] std::vector<LayerError> measure_layer_errors(const Network& student, const Network& teacher,
                                                           std::vector<at::Tensor> micro_batches, int threads,
                                                           const Communicator& communicator);

}  // namespace bitfall
