#pragma once
/// The sequential compression of a network: each layer is quantized on the inputs that the already quantized
/// prefix produces, in one depth-first walk over the calibration images (design: one forward pass in all).
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "bitfall/calibration.hpp"
#include "bitfall/plan.hpp"
#include "bitfall/quantized_layer.hpp"
#include "cluster_layer.hpp"
#include "job.hpp"
#include "layer_moments.hpp"

namespace bitfall {

struct CompressionParameters {
  ClusterParameters cluster;  ///< seed and threads come from the context
  MomentParameters moments;
  bool bn_reestimate = false;     ///< recompute batch-norm statistics
  bool bn_along_the_walk = true;  ///< ...before each batch norm runs, so that later layers see its outputs
};

/// Called when the network shows a newly quantized layer: may change its codebook, and then the network's
/// weight. `adopted`: it comes from a checkpoint. `index`: its place among the plan's layers.
using AfterLayer = std::function<void(QuantizedLayer& layer, std::size_t index, bool adopted)>;

/// Quantizes the planned layers of `network` in place while a walk visits them.
class Compression {
 public:
  Compression(Network& network, const Plan& plan, CompressionParameters parameters, JobContext& context,
              AfterLayer after_layer = {});

  /// Layers that an earlier run has finished: the walk takes them as they are.
  void adopt(std::vector<QuantizedLayer> finished) { finished_ = std::move(finished); }

  /// Names of this rank's images, for errors.
  void name_images(std::vector<std::string> names) { parameters_.moments.image_names = std::move(names); }

  /// The walk's visitor (collective).
  void before_step(const WalkStep& step);
  /// The quantized layers in the plan's order. Call after the walk.
  [[nodiscard]] std::vector<QuantizedLayer> take_layers();
  [[nodiscard]] std::map<std::string, double>& seconds() { return seconds_; }

 private:
  void quantize(std::size_t layer_index, const WalkStep& step);
  [[nodiscard]] QuantizedLayer cluster(std::size_t layer_index, const WalkStep& step);
  [[nodiscard]] const QuantizedLayer* finished(const std::string& name) const;
  [[nodiscard]] LayerMoments measure(std::size_t layer_index, const WalkStep& step);

  Network& network_;
  const Plan& plan_;
  CompressionParameters parameters_;
  JobContext& context_;
  AfterLayer after_layer_;
  std::vector<QuantizedLayer> finished_;
  std::vector<QuantizedLayer> layers_;
  std::vector<bool> done_;
  std::map<std::string, double> seconds_;  ///< by stage: gram, kmeans, batch_norm
};

}  // namespace bitfall
