#include "compression.hpp"

#include <ATen/core/Tensor.h>

#include <algorithm>

#include "bitfall/errors.hpp"
#include "bitfall/random.hpp"

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
      reestimate_batch_norm(network_, *batch_norm, step, context_.threads, context_.communicator);
    }
    return;
  }
  // A weight that several steps use is quantized on the inputs of its first use.
  if (const auto layer = network_.layer_of_step(step.step)) {
    if (plan_.layers.at(*layer).quantized && !done_.at(*layer)) quantize(*layer, step);
  }
}

LayerMoments Compression::measure(std::size_t layer_index, const WalkStep& step) {
  const LayerPlan& planned = plan_.layers.at(layer_index);
  LayerMoments moments;
  if (planned.metric == Metric::euclidean) return moments;
  const StageTimer timer(seconds_["gram"]);
  if (planned.metric == Metric::full) {
    const std::int64_t rows =
        parameters_.gram_rows < 0 ? 16 * planned.layer.columns() : parameters_.gram_rows;
    const FullGramParameters parameters{.rows = rows,
                                        .seed = context_.options.seed,
                                        .stream = random_stream::gram_rows + layer_index,
                                        .threads = context_.threads};
    FullGram gram = accumulate_full_gram(planned.layer, step.inputs, parameters, context_.communicator);
    if (parameters_.match_teacher) {
      const at::Tensor weight = network_.tensor(planned.layer.weight_name).to(at::kFloat).contiguous();
      const std::span values(weight.const_data_ptr<float>(), static_cast<std::size_t>(weight.numel()));
      moments.wanted_outputs = accumulate_cross_moments(planned.layer, values, step.teacher_inputs,
                                                        step.inputs, parameters, context_.communicator);
    }
    moments.per_position = diagonal_blocks(gram, planned.d);
    moments.full = std::move(gram.lower);
    moments.pooled = sum_positions(moments.per_position, planned.d);
  } else {
    const GramParameters parameters{
        .d = planned.d, .per_position = planned.metric == Metric::blockwise, .threads = context_.threads};
    Gram gram = accumulate_gram(planned.layer, step.inputs, parameters, context_.communicator);
    moments.pooled = std::move(gram.pooled);
    moments.per_position = std::move(gram.per_position);
  }
  if (std::all_of(moments.pooled.begin(), moments.pooled.end(), [](double g) { return g == 0; })) {
    context_.reporter.warning("the input of layer '" + planned.layer.name +
                              "' is zero on every calibration image; it is quantized without weighting");
  }
  return moments;
}

const QuantizedLayer* Compression::finished(const std::string& name) const {
  const auto found = std::find_if(finished_.begin(), finished_.end(),
                                  [&](const QuantizedLayer& layer) { return layer.name == name; });
  return found == finished_.end() ? nullptr : &*found;
}

void Compression::quantize(std::size_t layer_index, const WalkStep& step) {
  const QuantizedLayer* known = finished(plan_.layers.at(layer_index).layer.name);
  QuantizedLayer& layer = layers_.at(layer_index);
  layer = known != nullptr ? *known : cluster(layer_index, step);
  network_.set_tensor(layer.weight_name, decode(layer));
  done_.at(layer_index) = true;
  if (after_layer_) after_layer_(layer, layer_index, known != nullptr);
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
