#pragma once
/// The user's word on single layers: overrides by name pattern.
#include <optional>
#include <span>
#include <string_view>

#include "bitfall/layer.hpp"
#include "bitfall/plan.hpp"

namespace bitfall {

/// Throws ConfigError when an override matches no layer or asks for an impossible d or k.
void check_overrides(std::span<const PlanOverride> overrides, std::span<const Layer> layers);

/// What the overrides say about one layer, field by field: the last match that sets a field wins.
[[nodiscard]] PlanOverride merge_overrides(std::span<const PlanOverride> overrides, const Layer& layer);

/// Throws ConfigError naming the layer, its columns, d and the divisors nearest to d.
[[noreturn]] void throw_not_a_divisor(const Layer& layer, const PlanOverride& merged);

/// Throws ConfigError unless 2 <= k <= 65536 (codes are stored in 16 bits). `what` names the setting.
void check_k(std::int64_t k, std::string_view what);

}  // namespace bitfall
