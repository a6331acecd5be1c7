#include "compression.hpp"

#include <ATen/core/Tensor.h>

#include <algorithm>

#include "bitfall/errors.hpp"
#include "cluster_layer.hpp"

namespace bitfall {

Compression::Compression(Network& network, const Plan& plan, CompressionParameters parameters,
                         JobContext& context, AfterLayer after_layer)
    : network_(network),
      plan_(plan),
      parameters_(parameters),
      context_(context),
      after_layer_(std::move(after_layer)),
      layers_(plan.layers.size()),
      done_(plan.layers.size(), false) {}

void Compression::before_step(const WalkStep& step) {
  if (const BatchNormStep* batch_norm = network_.batch_norm_of_step(step.step)) {
    if (parameters_.bn_reestimate && parameters_.bn_along_the_walk) {
      const StageTimer timer(seconds_["batch_norm"]);
      reestimate_batch_norm(network_, *batch_norm, step.inputs, context_.threads, context_.communicator);
    }
    return;
  }
  // A weight that several steps use is quantized on the inputs of its first use.
  if (const auto layer = network_.layer_of_step(step.step)) {
    if (plan_.layers.at(*layer).quantized && !done_.at(*layer)) quantize(*layer, step.inputs);
  }
}

Whitening Compression::measure(const LayerPlan& planned, std::span<const at::Tensor> inputs) {
  if (planned.metric == Metric::euclidean) return Whitening::identity(planned.d);
  const StageTimer timer(seconds_["gram"]);
  const GramParameters parameters{.d = planned.d, .per_position = false, .threads = context_.threads};
  const Gram gram = accumulate_gram(planned.layer, inputs, parameters, context_.communicator);
  Whitening whitening = Whitening::from_gram(gram.pooled, planned.d);
  if (whitening.is_degenerate()) {
    context_.reporter.warning("the input of layer '" + planned.layer.name +
                              "' is zero on every calibration image; it is quantized without weighting");
  }
  return whitening;
}

const QuantizedLayer* Compression::finished(const std::string& name) const {
  const auto found = std::find_if(finished_.begin(), finished_.end(),
                                  [&](const QuantizedLayer& layer) { return layer.name == name; });
  return found == finished_.end() ? nullptr : &*found;
}

void Compression::quantize(std::size_t layer_index, std::span<const at::Tensor> inputs) {
  const QuantizedLayer* known = finished(plan_.layers.at(layer_index).layer.name);
  QuantizedLayer& layer = layers_.at(layer_index);
  layer = known != nullptr ? *known : cluster(layer_index, inputs);
  network_.set_tensor(layer.weight_name, decode(layer));
  done_.at(layer_index) = true;
  if (after_layer_) after_layer_(layer, layer_index, known != nullptr);
}

QuantizedLayer Compression::cluster(std::size_t layer_index, std::span<const at::Tensor> inputs) {
  const LayerPlan& planned = plan_.layers.at(layer_index);
  const Whitening whitening = measure(planned, inputs);
  const StageTimer timer(seconds_["kmeans"]);
  const ClusteredLayer clustered = cluster_layer(
      network_, plan_, layer_index, whitening,
      {.iterations = parameters_.iterations, .seed = context_.options.seed, .threads = context_.threads},
      context_.communicator);
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
