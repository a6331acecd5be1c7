#pragma once
/// The ways to quantize a layer that a search tries.
#include <vector>

#include "bitfall/plan.hpp"

namespace bitfall {

/// Every block size worth trying (the kernel, twice the kernel, 4, 8 of layers without one, the plan's own)
/// at every price of a bit from coarse to fine: the price decides how many of the codewords remain. `asked`
/// is what the user has said about the layer: its d and k stay. The first has the highest price.
[[nodiscard]] std::vector<LayerPlan> candidate_plans(const LayerPlan& planned, const PlanOverride& asked);

}  // namespace bitfall
