#include "plan_search.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "bitfall/coded_codes.hpp"
#include "bitfall/errors.hpp"
#include "src/quantization/plan_candidates.hpp"
#include "src/quantization/plan_overrides.hpp"

namespace bitfall {

std::int64_t stored_bytes(const QuantizedLayer& layer) {
  // Of 609 iterations of ResNet-20 a row and its seconds took 11.2 bytes, deflated. In a network as small as
  // that they are several per cent of the file, and a compression has more of them than the search that came
  // before it.
  constexpr std::int64_t iteration_bytes = 12;
  return static_cast<std::int64_t>(encode_codes(layer.codes, layer.k).bytes.size()) + layer.codebook_bytes() +
         iteration_bytes * static_cast<std::int64_t>(layer.iterations.size());
}

std::vector<MeasuredPlan> measure_layer(const Network& network, const Plan& plan, std::size_t index,
                                        const std::vector<PlanOverride>& overrides,
                                        const std::function<LayerMoments(const LayerPlan&)>& moments,
                                        const ClusterParameters& parameters,
                                        const Communicator& communicator) {
  const LayerPlan& planned = plan.layers.at(index);
  std::vector<LayerPlan> candidates = candidate_plans(planned, merge_overrides(overrides, planned.layer));
  // One set of moments for each block size.
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const LayerPlan& a, const LayerPlan& b) { return a.d < b.d; });
  std::vector<MeasuredPlan> all;
  std::vector<RatePoint> points;
  LayerMoments known;
  std::int64_t known_d = 0;
  Plan variant = plan;
  for (const LayerPlan& candidate : candidates) {
    if (candidate.d != known_d) known = moments(candidate);
    known_d = candidate.d;
    variant.layers[index] = candidate;
    ClusteredLayer clustered = cluster_layer(network, variant, index, known, parameters, communicator);
    const std::int64_t bytes = stored_bytes(clustered.layer);
    points.push_back({bytes, clustered.relative_error});
    all.push_back({candidate, std::move(clustered.layer), clustered.relative_error, bytes});
  }
  if (all.empty())
    throw DataError("layer '" + planned.layer.name + "' is too small for a search; leave it alone");
  std::vector<MeasuredPlan> hull;
  for (const std::size_t i : lower_hull(points)) hull.push_back(std::move(all[i]));
  return hull;
}

std::vector<SearchedLayer> Measured::searched() const {
  std::vector<SearchedLayer> result;
  for (std::size_t i = 0; i < indices.size(); ++i) {
    SearchedLayer layer{indices[i], {}, {}};
    for (const MeasuredPlan& measured : layers[i]) {
      layer.plans.push_back(measured.plan);
      layer.points.push_back({measured.bytes, weights[i] * measured.relative_error});
    }
    result.push_back(std::move(layer));
  }
  return result;
}

std::vector<QuantizedLayer> Measured::chosen(const SizeBudget& budget) const {
  std::vector<QuantizedLayer> result;
  for (std::size_t i = 0; i < indices.size(); ++i) result.push_back(layers[i][budget.choice(i)].layer);
  return result;
}

std::int64_t Reserve::usable(std::int64_t target_bytes) const {
  return target_bytes - bytes -
         static_cast<std::int64_t>(std::ceil(part * static_cast<double>(target_bytes)));
}

std::int64_t Reserve::target_for(std::int64_t file_bytes) const {
  auto target = static_cast<std::int64_t>(static_cast<double>(file_bytes + bytes) / (1 - part));
  while (usable(target) < file_bytes) ++target;
  return target;
}

SizeBudget fit_file(const Measured& measured, const SizeTarget& target, std::int64_t target_bytes,
                    const Reserve& reserve, const FileSize& size_of_file) {
  const std::vector<SearchedLayer> layers = measured.searched();
  std::vector<std::vector<RatePoint>> points;
  for (const SearchedLayer& layer : layers) points.push_back(layer.points);
  const std::int64_t least = least_bytes(points), usable = reserve.usable(target_bytes);
  SizeBudget budget(layers, least);
  std::int64_t planned = budget.planned_bytes(), used = size_of_file(measured.chosen(budget));
  if (used > usable) {
    // The file holds the command line, which is a little longer when it asks for this.
    const std::int64_t smallest = reserve.target_for(used + 64);
    char mib[32];
    std::snprintf(mib, sizeof mib, "%.4f", double(smallest) / (1 << 20));
    throw UsageError(target.text() + " allows " + std::to_string(target_bytes) +
                     " bytes, but the smallest target that the search can reach is " +
                     std::to_string(smallest) + " bytes (" + mib +
                     " MiB); ask for at least that, or try --kept fp16 or folded");
  }
  // What surrounds the layers depends a little on them (compression, tables): a few rounds settle it.
  for (int round = 0; round < 6 && used != usable; ++round) {
    SizeBudget other(layers, std::max(least, planned + usable - used));
    planned = other.planned_bytes();
    used = size_of_file(measured.chosen(other));
    if (used <= usable && planned >= budget.planned_bytes()) budget = other;
  }
  return budget;
}

void apply(const SizeBudget& budget, Plan& plan) {
  for (std::size_t i = 0; i < budget.layers().size(); ++i)
    plan.layers.at(budget.layers()[i].index) = budget.plan(i);
}

void settle_plan(Plan& plan, const std::vector<QuantizedLayer>& layers, bool was_searched,
                 std::span<const TensorInfo> tensors) {
  auto layer = layers.begin();
  for (LayerPlan& planned : plan.layers) {
    if (!planned.quantized) continue;
    BITFALL_ASSERT(layer != layers.end() && layer->name == planned.layer.name, planned.layer.name);
    if (planned.bit_price > 0 || was_searched) {
      planned.d = layer->d;
      planned.k = layer->k;
      planned.m = planned.layer.columns() / planned.d;
      planned.n = planned.layer.rows() * planned.m;
    }
    if (was_searched) planned.bit_price = 0;
    ++layer;
  }
  plan.sizes = count_sizes(plan.layers, tensors);
}

}  // namespace bitfall
