#include "plan_overrides.hpp"

#include <fnmatch.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "bitfall/errors.hpp"
#include "nearest_name.hpp"

namespace bitfall {
namespace {

constexpr std::int64_t max_k = std::int64_t{1} << 16;

bool matches(const PlanOverride& entry, const Layer& layer) {
  return fnmatch(entry.pattern.c_str(), layer.name.c_str(), 0) == 0;
}

void check_matches_something(const PlanOverride& entry, std::span<const Layer> layers) {
  if (std::any_of(layers.begin(), layers.end(), [&](const Layer& layer) { return matches(entry, layer); }))
    return;
  std::vector<std::string> names;
  for (const Layer& layer : layers) names.push_back(layer.name);
  const std::string nearest = nearest_name(entry.pattern, names);
  throw ConfigError("the override for '" + entry.pattern + "' matches no layer" +
                    (nearest.empty() ? std::string() : "; the nearest layer is '" + nearest + "'") +
                    ". `bitfall compress --dry-run` lists all layers");
}

/// The divisors of `columns` nearest to d: up to two below and two above, ascending.
std::string nearby_divisors(std::int64_t columns, std::int64_t d) {
  std::vector<std::int64_t> below, above;
  for (std::int64_t divisor = 1; divisor <= columns; ++divisor) {
    if (columns % divisor == 0) (divisor < d ? below : above).push_back(divisor);
  }
  std::vector<std::int64_t> near(below.end() - std::min<std::ptrdiff_t>(2, std::ssize(below)), below.end());
  near.insert(near.end(), above.begin(), above.begin() + std::min<std::ptrdiff_t>(2, std::ssize(above)));
  std::string text;
  for (const std::int64_t divisor : near) text += (text.empty() ? "" : ", ") + std::to_string(divisor);
  return text;
}

}  // namespace

void check_k(std::int64_t k, std::string_view what) {
  if (k >= 2 && k <= max_k) return;
  throw ConfigError(std::string(what) + " is " + std::to_string(k) + "; it must be between 2 and " +
                    std::to_string(max_k));
}

void check_overrides(std::span<const PlanOverride> overrides, std::span<const Layer> layers) {
  for (const PlanOverride& entry : overrides) {
    const std::string where = " of the override for '" + entry.pattern + "'";
    check_matches_something(entry, layers);
    if (entry.k) check_k(*entry.k, "k" + where);
    if (entry.d && *entry.d < 1) {
      throw ConfigError("d" + where + " is " + std::to_string(*entry.d) + "; it must be at least 1");
    }
  }
}

PlanOverride merge_overrides(std::span<const PlanOverride> overrides, const Layer& layer) {
  PlanOverride merged;
  merged.pattern = layer.name;
  for (const PlanOverride& entry : overrides) {
    if (!matches(entry, layer)) continue;
    if (entry.d) merged.d = entry.d;
    if (entry.k) merged.k = entry.k;
    if (entry.quantize) merged.quantize = entry.quantize;
  }
  return merged;
}

void throw_not_a_divisor(const Layer& layer, const PlanOverride& merged) {
  const std::int64_t d = merged.d.value_or(0);
  throw ConfigError("layer '" + layer.name + "': d = " + std::to_string(d) + " does not divide its " +
                    std::to_string(layer.columns()) + " columns; the divisors nearest to it are " +
                    nearby_divisors(layer.columns(), d));
}

}  // namespace bitfall
