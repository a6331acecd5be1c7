#include "compression.hpp"

#include <ATen/core/Tensor.h>

#include <algorithm>

#include "bitfall/errors.hpp"
#include "bitfall/random.hpp"
#include "plan_search.hpp"

namespace bitfall {

Compression::Compression(Network& network, Plan& plan, CompressionParameters parameters, JobContext& context,
                         AfterLayer after_layer)
    : network_(network),
      plan_(plan),
      parameters_(std::move(parameters)),
      context_(context),
      after_layer_(std::move(after_layer)),
      layers_(plan.layers.size()),
      done_(plan.layers.size(), false) {}

void Compression::before_step(const WalkStep& step) {
  if (const BatchNormStep* batch_norm = network_.batch_norm_of_step(step.step)) {
    if (parameters_.bn_reestimate && parameters_.bn_along_the_walk) {
      const StageTimer timer(seconds_["batch_norm"]);
      reestimate_batch_norm(network_, *batch_norm, step, context_.threads, context_.communicator);
    }
    return;
  }
  if (plan_.layers.at(step.layer.value()).quantized) quantize(*step.layer, step);
}

LayerMoments Compression::measure(std::size_t layer_index, const WalkStep& step) {
  const LayerPlan& planned = plan_.layers.at(layer_index);
  const StageTimer timer(seconds_["gram"]);
  return measure_moments(network_, layer_index, planned.metric, planned.d,
                         network_.tensor(planned.layer.weight_name), step, parameters_.moments, context_);
}

const QuantizedLayer* Compression::finished(const std::string& name) const {
  const auto found = std::find_if(finished_.begin(), finished_.end(),
                                  [&](const QuantizedLayer& layer) { return layer.name == name; });
  return found == finished_.end() ? nullptr : &*found;
}

void Compression::quantize(std::size_t layer_index, const WalkStep& step) {
  const QuantizedLayer* known = finished(plan_.layers.at(layer_index).layer.name);
  QuantizedLayer& layer = layers_.at(layer_index);
  layer = known != nullptr ? *known : cluster_within_budget(layer_index, step);
  if (known != nullptr && budget_ != nullptr)
    while (!budget_->settle(budget_->place_of(layer_index), stored_bytes(layer))) continue;
  network_.set_tensor(layer.weight_name, decode(layer));
  done_.at(layer_index) = true;
  if (after_layer_) after_layer_(layer, layer_index, known != nullptr);
}

QuantizedLayer Compression::cluster_within_budget(std::size_t layer_index, const WalkStep& step) {
  if (budget_ == nullptr) return cluster(layer_index, step);
  const std::size_t place = budget_->place_of(layer_index);
  while (true) {
    plan_.layers.at(layer_index) = budget_->plan(place);
    QuantizedLayer layer = cluster(layer_index, step);
    if (budget_->settle(place, stored_bytes(layer))) return layer;
    context_.reporter.info("layer " + layer.name + " leaves too few bytes for the rest; again, smaller");
  }
}

QuantizedLayer Compression::cluster(std::size_t layer_index, const WalkStep& step) {
  const LayerMoments moments = measure(layer_index, step);
  const StageTimer timer(seconds_["kmeans"]);
  ClusterParameters parameters = parameters_.cluster;
  parameters.seed = context_.options.seed;
  parameters.threads = context_.threads;
  const ClusteredLayer clustered =
      cluster_layer(network_, plan_, layer_index, moments, parameters, context_.communicator);
  report(clustered, context_.reporter);
  return clustered.layer;
}

std::vector<QuantizedLayer> Compression::take_layers() {
  std::vector<QuantizedLayer> result;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    BITFALL_ASSERT(done_[i] == plan_.layers[i].quantized, plan_.layers[i].layer.name);
    if (done_[i]) result.push_back(std::move(layers_[i]));
  }
  return result;
}

}  // namespace bitfall
