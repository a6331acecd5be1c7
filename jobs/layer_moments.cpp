#include "layer_moments.hpp"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "bitfall/random.hpp"
#include "src/calibration/channel_energy.hpp"

namespace bitfall {

namespace {

/// What a batch norm multiplies each channel with: gamma / sqrt(variance + epsilon). Channels that hardly
/// pass get 0: they can't make up for anything.
std::vector<float> gain_of(const Network& network, const BatchNormStep* norm, std::int64_t rows) {
  std::vector<float> gain(static_cast<std::size_t>(rows), 1.0F);
  if (norm == nullptr) return gain;
  const at::Tensor variance = network.tensor(norm->running_variance).to(at::kFloat).contiguous();
  for (std::size_t r = 0; r < gain.size(); ++r)
    gain[r] = static_cast<float>(1 / std::sqrt(double(variance.const_data_ptr<float>()[r]) + norm->epsilon));
  if (!norm->scale.empty()) {
    const at::Tensor scale = network.tensor(norm->scale).to(at::kFloat).contiguous();
    for (std::size_t r = 0; r < gain.size(); ++r) gain[r] *= scale.const_data_ptr<float>()[r];
  }
  float most = 0;
  for (const float value : gain) most = std::max(most, std::abs(value));
  for (float& value : gain)
    if (!(std::abs(value) > 0.01F * most)) value = 0;
  return gain;
}

Shortcuts shortcuts_of(const Network& network, const Layer& layer, const WalkStep& step, bool wanted) {
  if (!wanted || layer.steps.size() != 1 || !network.has_shortcut(step.step)) return {};
  return {step.teacher_shortcuts, step.shortcuts,
          gain_of(network, network.shortcut_norm(step.step), layer.rows())};
}

LayerMoments measure_fully(const Network& network, std::size_t layer_index, std::int64_t d,
                           const at::Tensor& weight, const WalkStep& step, const MomentParameters& given,
                           const JobContext& context) {
  const Layer& layer = network.layers().at(layer_index);
  const FullGramParameters parameters{.rows = given.gram_rows < 0 ? 12 * layer.columns() : given.gram_rows,
                                      .seed = context.options.seed,
                                      .stream = random_stream::gram_rows + layer_index,
                                      .threads = context.threads,
                                      .image_names = given.image_names,
                                      .arrays = context.arrays};
  LayerMoments moments;
  FullGram gram = accumulate_full_gram(layer, step.inputs, parameters, context.communicator);
  if (given.match_teacher) {
    const at::Tensor plain = weight.to(at::kFloat).contiguous();
    const WantedOutput wanted{
        .weight = std::span(plain.const_data_ptr<float>(), static_cast<std::size_t>(plain.numel())),
        .teacher_inputs = step.teacher_inputs,
        .teacher_outputs = step.teacher_outputs,
        .bias = step.teacher_outputs.empty() ? at::Tensor() : step.teacher->convolution_bias(step.step),
        .shortcuts = shortcuts_of(network, layer, step, given.mend_shortcuts)};
    moments.wanted_outputs =
        accumulate_cross_moments(layer, wanted, step.inputs, parameters, context.communicator);
  }
  moments.per_position = diagonal_blocks(gram, d);
  moments.full = std::move(gram.lower);
  moments.pooled = sum_positions(moments.per_position, d);
  return moments;
}

/// A transposed convolution adds x_c w_c to its outputs, w_c the row of input channel c: with errors of rows
/// that are independent of each other, and of taps that meet at an output, the error is sum_c |e_c|^2 sum
/// x_c^2. So blocks have the plain metric, and rows count by the energy of their channel.
LayerMoments measure_transposed(const Layer& layer, std::int64_t d, const WalkStep& step,
                                const JobContext& context) {
  LayerMoments moments;
  const auto size = static_cast<std::size_t>(d);
  const auto positions = static_cast<std::size_t>(layer.columns() / d);
  moments.pooled.assign(size * size, 0.0);
  for (std::size_t i = 0; i < size; ++i) moments.pooled[i * size + i] = 1;
  for (std::size_t j = 0; j < positions; ++j)
    moments.per_position.insert(moments.per_position.end(), moments.pooled.begin(), moments.pooled.end());
  moments.row_weights =
      accumulate_channel_energies(layer, step.inputs, context.threads, context.communicator);
  double sum = 0;
  for (const double energy : moments.row_weights) sum += energy;
  if (sum == 0) moments.row_weights.clear();
  return moments;
}

}  // namespace

LayerMoments measure_moments(const Network& network, std::size_t layer_index, Metric metric, std::int64_t d,
                             const at::Tensor& weight, const WalkStep& step,
                             const MomentParameters& parameters, const JobContext& context) {
  const Layer& layer = network.layers().at(layer_index);
  if (layer.transposed && metric != Metric::euclidean) return measure_transposed(layer, d, step, context);
  LayerMoments moments;
  if (metric == Metric::full) {
    moments = measure_fully(network, layer_index, d, weight, step, parameters, context);
  } else if (metric != Metric::euclidean) {
    Gram gram = accumulate_gram(layer, step.inputs,
                                {.d = d,
                                 .per_position = metric == Metric::blockwise,
                                 .threads = context.threads,
                                 .image_names = parameters.image_names,
                                 .arrays = context.arrays},
                                context.communicator);
    moments.pooled = std::move(gram.pooled);
    moments.per_position = std::move(gram.per_position);
  }
  const auto weights = parameters.row_weights.find(layer.name);
  if (weights != parameters.row_weights.end()) moments.row_weights = weights->second;
  if (!moments.pooled.empty() &&
      std::all_of(moments.pooled.begin(), moments.pooled.end(), [](double g) { return g == 0; })) {
    context.reporter.warning("the input of layer '" + layer.name +
                             "' is zero on every calibration image; it is quantized without weighting");
  }
  return moments;
}

}  // namespace bitfall
