#include "quantization/plan_candidates.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <set>

#include "quantization/plan_rules.hpp"

namespace bitfall {
namespace {

/// Relative output error that a bit a weight of the layer is worth. A bit a weight takes three quarters of an
/// error away, so these are about the relative errors of the layers that come out, times 1.4.
constexpr std::array<double, 7> prices = {0.5, 0.25, 0.12, 0.06, 0.03, 0.015, 0.006};

std::set<std::int64_t> block_sizes(const LayerPlan& planned, const PlanOverride& asked) {
  if (asked.d) return {*asked.d};
  const std::int64_t natural = natural_block(planned.layer);
  std::set<std::int64_t> sizes = {planned.d, 4, natural, 2 * natural};
  std::erase_if(sizes, [&](std::int64_t d) { return planned.layer.columns() % d != 0; });
  return sizes;
}

}  // namespace

std::vector<LayerPlan> candidate_plans(const LayerPlan& planned, const PlanOverride& asked) {
  std::vector<LayerPlan> candidates;
  for (const double price : prices) {
    for (const std::int64_t d : block_sizes(planned, asked)) {
      LayerPlan candidate = planned;
      candidate.d = d;
      candidate.m = planned.layer.columns() / d;
      candidate.n = planned.layer.rows() * candidate.m;
      candidate.k = std::min(asked.k ? *asked.k : 2 * planned.requested_k, most_k(candidate.n, true));
      candidate.bit_price = price / static_cast<double>(planned.layer.elements());
      if (candidate.k >= 2) candidates.push_back(candidate);
    }
  }
  return candidates;
}

}  // namespace bitfall
