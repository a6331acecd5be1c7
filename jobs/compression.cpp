#include "compression.hpp"

#include <ATen/core/Tensor.h>

#include <algorithm>

#include "bitfall/errors.hpp"
#include "bitfall/random.hpp"
#include "plan_search.hpp"

namespace bitfall {

LayerMoments measure_moments(const Network& network, const LayerPlan& planned, std::size_t layer_index,
                             const WalkStep& step, const CompressionParameters& options,
                             JobContext& context) {
  LayerMoments moments;
  if (planned.metric == Metric::euclidean) return moments;
  if (planned.metric == Metric::full) {
    const std::int64_t rows = options.gram_rows < 0 ? 16 * planned.layer.columns() : options.gram_rows;
    const FullGramParameters parameters{.rows = rows,
                                        .seed = context.options.seed,
                                        .stream = random_stream::gram_rows + layer_index,
                                        .threads = context.threads};
    FullGram gram = accumulate_full_gram(planned.layer, step.inputs, parameters, context.communicator);
    if (options.match_teacher) {
      const at::Tensor weight = network.tensor(planned.layer.weight_name).to(at::kFloat).contiguous();
      const std::span values(weight.const_data_ptr<float>(), static_cast<std::size_t>(weight.numel()));
      moments.wanted_outputs = accumulate_cross_moments(planned.layer, values, step.teacher_inputs,
                                                        step.inputs, parameters, context.communicator);
    }
    moments.per_position = diagonal_blocks(gram, planned.d);
    moments.full = std::move(gram.lower);
    moments.pooled = sum_positions(moments.per_position, planned.d);
  } else {
    const GramParameters parameters{
        .d = planned.d, .per_position = planned.metric == Metric::blockwise, .threads = context.threads};
    Gram gram = accumulate_gram(planned.layer, step.inputs, parameters, context.communicator);
    moments.pooled = std::move(gram.pooled);
    moments.per_position = std::move(gram.per_position);
  }
  if (std::all_of(moments.pooled.begin(), moments.pooled.end(), [](double g) { return g == 0; })) {
    context.reporter.warning("the input of layer '" + planned.layer.name +
                             "' is zero on every calibration image; it is quantized without weighting");
  }
  return moments;
}

Compression::Compression(Network& network, Plan& plan, CompressionParameters parameters, JobContext& context,
                         AfterLayer after_layer)
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
  LayerMoments moments;
  {
    const StageTimer timer(seconds_["gram"]);
    moments =
        measure_moments(network_, plan_.layers.at(layer_index), layer_index, step, parameters_, context_);
  }
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
