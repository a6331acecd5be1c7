#pragma once
/// What a walk tells about one layer: what `compress` quantizes on and finetuning re-assigns codes on.
#include <map>
#include <string>
#include <vector>

#include "bitfall/calibration.hpp"
#include "bitfall/quantizer.hpp"
#include "job.hpp"

namespace bitfall {

struct MomentParameters {
  std::int64_t gram_rows = -1;  ///< metric full: unfolded rows that H is summed over; 0: all, -1: 12 D
  bool match_teacher = false;   ///< metric full: aim at the outputs of the unquantized network
  bool mend_shortcuts = false;  ///< ...and at what the sums after residual blocks need
  std::vector<std::string> image_names;                    ///< of this rank, for errors
  std::map<std::string, std::vector<double>> row_weights;  ///< by layer (output_weights.hpp)
};

/// The moments that `metric` needs of the layer that `step` is about to run, for blocks of `d` of `weight`,
/// its unquantized weight (collective). Warns when the layer's input is zero.
[[nodiscard]] LayerMoments measure_moments(const Network& network, std::size_t layer_index, Metric metric,
                                           std::int64_t d, const at::Tensor& weight, const WalkStep& step,
                                           const MomentParameters& parameters, const JobContext& context);

}  // namespace bitfall
