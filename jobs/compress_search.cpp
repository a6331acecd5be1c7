#include "compress_search.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "sensitivity.hpp"

namespace bitfall {

namespace {

/// About how many images the sensitivities come from, of those that the rank has.
constexpr std::int64_t sensitivity_images = 256;

/// The first micro-batches of all ranks' list: which ones does not depend on the number of ranks.
std::vector<at::Tensor> first_micro_batches(const std::vector<at::Tensor>& images,
                                            const Communicator& communicator) {
  std::vector<std::int64_t> own;
  for (const at::Tensor& batch : images) own.push_back(batch.size(0));
  const auto all = communicator.all_gather(std::span<const std::int64_t>(own));
  const auto first = static_cast<std::size_t>(
      Communicator::share(static_cast<std::int64_t>(all.size()), communicator.rank(), communicator.size())
          .first);
  std::int64_t before = 0;
  for (std::size_t i = 0; i < first; ++i) before += all[i];
  std::vector<at::Tensor> chosen;
  for (const at::Tensor& batch : images) {
    if (before < sensitivity_images) chosen.push_back(batch.clone());
    before += batch.size(0);
  }
  return chosen;
}

/// The middle of each layer's hull: an error like those that will be chosen.
std::vector<QuantizedLayer> middle_layers(const Measured& measured) {
  std::vector<QuantizedLayer> layers;
  for (const auto& plans : measured.layers) layers.push_back(plans[plans.size() / 2].layer);
  return layers;
}

}  // namespace

Measured CompressSearch::measure(const Network& network, const Plan& plan,
                                 std::vector<at::Tensor> images) const {
  ClusterParameters fewer = parameters_.cluster;
  fewer.seed = context_.options.seed;
  fewer.threads = context_.threads;
  fewer.iterations = std::min<std::int64_t>(fewer.iterations, 15);
  fewer.sweeps = std::min<std::int64_t>(fewer.sweeps, 1);
  MomentParameters own_outputs = parameters_.moments;
  own_outputs.match_teacher = own_outputs.mend_shortcuts = false;  // nothing is quantized yet
  Measured measured;
  const auto before_step = [&](const WalkStep& step) {
    const auto index = step.layer;
    if (!index || !plan.layers.at(*index).quantized) return;
    std::optional<FullGram> gram;  // one for all block sizes
    const auto moments = [&](const LayerPlan& candidate) {
      const at::Tensor weight = network.tensor(candidate.layer.weight_name);
      const auto measure_it = [&] {
        return measure_moments(network, *index, candidate.metric, candidate.d, weight, step, own_outputs,
                               context_);
      };
      if (candidate.metric != Metric::full) return measure_it();
      LayerMoments known;
      if (!gram) {
        known = measure_it();
        gram = FullGram{candidate.layer.columns(), 0, known.full};
        return known;
      }
      known.full = gram->lower;
      known.per_position = diagonal_blocks(*gram, candidate.d);
      known.pooled = sum_positions(known.per_position, candidate.d);
      return known;
    };
    measured.indices.push_back(*index);
    measured.layers.push_back(measure_layer(network, plan, *index, context_.options.overrides, moments, fewer,
                                            context_.communicator));
    const auto& hull = measured.layers.back();
    context_.reporter.info("layer " + hull.front().layer.name + ": " + std::to_string(hull.size()) +
                           " choices from " + std::to_string(hull.front().bytes) + " to " +
                           std::to_string(hull.back().bytes) + " bytes");
  };
  walk(network, std::move(images), WalkParameters{.threads = context_.threads}, context_.communicator,
       before_step);
  return measured;
}

FoundPlan CompressSearch::run(Network& network, const Plan& plan, std::vector<at::Tensor> images,
                              const FileSize& size_of_file) const {
  const std::vector<at::Tensor> few = first_micro_batches(images, context_.communicator);
  Measured measured = measure(network, plan, std::move(images));
  const std::vector<double> divergences =
      measure_sensitivities(network, middle_layers(measured), few, context_);
  for (std::size_t i = 0; i < measured.layers.size(); ++i) {
    const auto& plans = measured.layers[i];
    const double error = plans[plans.size() / 2].relative_error;
    measured.weights.push_back(error > 0 ? std::max(divergences[i], 1e-9) / error : 1e-9);
  }
  // What surrounds the layers may still change a little: other iterations, finetuned values.
  SizeBudget budget = fit_file(measured, target_, target_bytes_, {0.002, 64}, size_of_file);
  for (std::size_t i = 0; i < measured.layers.size(); ++i)
    context_.reporter.event("choice", {{"layer", budget.plan(i).layer.name},
                                       {"d", budget.plan(i).d},
                                       {"bit_price", budget.plan(i).bit_price},
                                       {"bytes", budget.point(i).bytes},
                                       {"weight", measured.weights[i]},
                                       {"weighed_error", budget.point(i).error}});
  std::vector<QuantizedLayer> layers = measured.chosen(budget);
  return {std::move(budget), std::move(layers)};
}

}  // namespace bitfall
