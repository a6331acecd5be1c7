#include "bitfall/plan.hpp"

#include <algorithm>
#include <bit>
#include <cstddef>

#include "bitfall/errors.hpp"
#include "plan_overrides.hpp"
#include "plan_rules.hpp"

namespace bitfall {
namespace {

/// Everything that the decision on one layer depends on.
struct Rules {
  std::span<const Layer> layers;
  const PlanParameters& parameters;
  const Preset& preset;
};

LayerPlan leave_alone(LayerPlan plan, std::string reason) {
  LayerPlan alone;
  alone.layer = std::move(plan.layer);
  alone.metric = plan.metric;
  alone.reason = std::move(reason);
  return alone;
}

/// The user's block size, or the first candidate that divides the columns; 0 when none does.
std::int64_t choose_block_size(const Layer& layer, const PlanOverride& asked, const Rules& rules) {
  if (asked.d) {
    if (layer.columns() % *asked.d != 0) throw_not_a_divisor(layer, asked);
    return *asked.d;
  }
  const auto candidates = candidate_block_sizes(layer, rules.parameters.regime, rules.preset);
  const auto fitting = std::find_if(candidates.begin(), candidates.end(),
                                    [&](std::int64_t d) { return layer.columns() % d == 0; });
  return fitting == candidates.end() ? 0 : *fitting;
}

std::int64_t requested_k(const Layer& layer, const PlanOverride& asked, const Rules& rules) {
  if (asked.k) return *asked.k;
  if (layer.kind == LayerKind::linear) return rules.parameters.k_linear.value_or(rules.preset.k_linear);
  return rules.parameters.k;
}

LayerPlan plan_layer(std::size_t index, const Rules& rules) {
  const Layer& layer = rules.layers[index];
  LayerPlan plan;
  plan.layer = layer;
  plan.metric = rules.parameters.metric;
  std::vector<PlanOverride> overrides = rules.preset.overrides;
  overrides.insert(overrides.end(), rules.parameters.overrides.begin(), rules.parameters.overrides.end());
  const PlanOverride asked = merge_overrides(overrides, layer);
  const bool insisted = asked.quantize.value_or(false);
  if (!layer.obstacle.empty()) return leave_alone(plan, layer.obstacle);
  if (!asked.quantize.value_or(true))
    return leave_alone(plan, "left alone by the configuration or the preset");
  if (const std::string rule = reason_to_leave_alone(rules.layers, index); !rule.empty() && !insisted) {
    return leave_alone(plan, rule + " (an override with quantize = true changes that)");
  }
  if (layer.elements() == 0) return leave_alone(plan, "the weight is empty");
  plan.d = choose_block_size(layer, asked, rules);
  if (plan.d == 0) {
    return leave_alone(plan, "no block size of the rules divides its " + std::to_string(layer.columns()) +
                                 " columns; an override can set d");
  }
  plan.m = layer.columns() / plan.d;
  plan.n = layer.rows() * plan.m;
  plan.requested_k = requested_k(layer, asked, rules);
  plan.k = std::min(plan.requested_k, most_k(plan.n, rules.parameters.rate > 0));
  if (plan.k < 2) {
    return leave_alone(plan, "too small: " + std::to_string(plan.n) + " blocks of " + std::to_string(plan.d));
  }
  if (plan.codes_bytes() + plan.codebook_bytes() >= 2 * layer.elements() && !insisted) {
    return leave_alone(plan, "codes and codebook would not be smaller than the weight in fp16");
  }
  // Beyond this many columns H would take gigabytes (8 D^2 bytes while it is summed).
  constexpr std::int64_t most_full_columns = 16384;
  if (plan.metric == Metric::full && layer.columns() > most_full_columns) plan.metric = Metric::blockwise;
  // Its rows count by their channel's energy (jobs/layer_moments.cpp); only blockwise k-means weighs rows.
  if (layer.transposed && plan.metric != Metric::euclidean) plan.metric = Metric::blockwise;
  plan.quantized = true;
  return plan;
}

[[noreturn]] void throw_nothing_to_quantize(std::span<const LayerPlan> layers) {
  if (layers.empty()) {
    throw DataError("the network has no convolution or linear layer that could be quantized");
  }
  std::string text = "no layer of the network can be quantized:";
  constexpr std::size_t shown = 10;
  for (std::size_t i = 0; i < std::min(shown, layers.size()); ++i) {
    text += "\n  " + layers[i].layer.name + ": " + layers[i].reason;
  }
  if (layers.size() > shown) text += "\n  and " + std::to_string(layers.size() - shown) + " more";
  throw DataError(text);
}

/// One price for all layers: of a sum of relative errors over the layers, not of each layer's own.
void set_bit_prices(std::vector<LayerPlan>& layers, double rate) {
  std::int64_t quantized = 0, weights = 0;
  for (const LayerPlan& layer : layers) {
    if (!layer.quantized) continue;
    ++quantized;
    weights += layer.layer.elements();
  }
  for (LayerPlan& layer : layers)
    if (layer.quantized) layer.bit_price = rate * double(quantized) / double(weights);
}

}  // namespace

std::string_view to_string(Regime regime) {
  return regime == Regime::small ? "small" : "large";
}

Regime regime_from_string(std::string_view name) {
  if (name == "small") return Regime::small;
  if (name == "large") return Regime::large;
  throw UsageError("unknown regime '" + std::string(name) + "': it is small or large");
}

int LayerPlan::code_bits() const {
  return k <= 1 ? 0 : std::bit_width(static_cast<std::uint64_t>(k - 1));
}

std::int64_t LayerPlan::codes_bytes() const {
  return (n * code_bits() + 7) / 8;
}

std::int64_t Plan::quantized_layers() const {
  return std::count_if(layers.begin(), layers.end(), [](const LayerPlan& layer) { return layer.quantized; });
}

std::int64_t largest_k(std::int64_t n) {
  // 2^s < n/4  <=>  2^(s+2) < n  <=>  2^(s+2) <= n - 1
  if (n <= 4) return 1;
  return static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(n - 1)) / 4);
}

Plan make_plan(std::span<const Layer> layers, std::span<const TensorInfo> tensors,
               const PlanParameters& parameters) {
  check_k(parameters.k, "k");
  if (parameters.k_linear) check_k(*parameters.k_linear, "k of linear layers");
  check_overrides(parameters.overrides, layers);
  const Preset preset = choose_preset(parameters.preset, layers);
  Plan plan;
  plan.regime = parameters.regime;
  plan.preset = preset.name;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    plan.layers.push_back(plan_layer(i, {layers, parameters, preset}));
  }
  if (plan.quantized_layers() == 0) throw_nothing_to_quantize(plan.layers);
  set_bit_prices(plan.layers, parameters.rate);
  plan.sizes = count_sizes(plan.layers, tensors);
  return plan;
}

}  // namespace bitfall
