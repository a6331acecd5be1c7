#include "quantization/rate_distortion.hpp"

#include <algorithm>
#include <numeric>

#include "bitfall/errors.hpp"

namespace bitfall {
namespace {

double saved_a_byte(const RatePoint& from, const RatePoint& to) {
  return (from.error - to.error) / static_cast<double>(to.bytes - from.bytes);
}

/// One step of a layer's hull.
struct Step {
  double saved = 0;  ///< error a byte
  std::size_t layer = 0;
  std::size_t to = 0;  ///< index on the hull
};

std::vector<Step> steps_of(std::span<const std::vector<RatePoint>> layers,
                           const std::vector<std::vector<std::size_t>>& hulls) {
  std::vector<Step> steps;
  for (std::size_t layer = 0; layer < layers.size(); ++layer)
    for (std::size_t i = 1; i < hulls[layer].size(); ++i)
      steps.push_back(
          {saved_a_byte(layers[layer][hulls[layer][i - 1]], layers[layer][hulls[layer][i]]), layer, i});
  std::stable_sort(steps.begin(), steps.end(),
                   [](const Step& a, const Step& b) { return a.saved > b.saved; });
  return steps;
}

/// Spends what is left: any point, on a hull or not, that saves most error a byte.
void spend_rest(std::span<const std::vector<RatePoint>> layers, std::int64_t rest,
                std::vector<std::size_t>& chosen) {
  for (bool found = true; found;) {
    found = false;
    double best = 0;
    std::size_t layer = 0, point = 0;
    for (std::size_t l = 0; l < layers.size(); ++l) {
      const RatePoint& now = layers[l][chosen[l]];
      for (std::size_t i = 0; i < layers[l].size(); ++i) {
        const RatePoint& other = layers[l][i];
        if (!(other.error < now.error) || other.bytes - now.bytes > rest) continue;
        const double saved = (now.error - other.error) /
                             static_cast<double>(std::max<std::int64_t>(1, other.bytes - now.bytes));
        if (!(saved > best)) continue;
        best = saved;
        layer = l;
        point = i;
        found = true;
      }
    }
    if (!found) return;
    rest -= layers[layer][point].bytes - layers[layer][chosen[layer]].bytes;
    chosen[layer] = point;
  }
}

}  // namespace

std::vector<std::size_t> lower_hull(std::span<const RatePoint> points) {
  std::vector<std::size_t> order(points.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return points[a].bytes != points[b].bytes ? points[a].bytes < points[b].bytes
                                              : points[a].error < points[b].error;
  });
  std::vector<std::size_t> hull;
  for (const std::size_t i : order) {
    if (!hull.empty() && !(points[i].error < points[hull.back()].error)) continue;
    while (hull.size() > 1 && saved_a_byte(points[hull[hull.size() - 2]], points[hull.back()]) <=
                                  saved_a_byte(points[hull.back()], points[i]))
      hull.pop_back();
    hull.push_back(i);
  }
  return hull;
}

std::int64_t least_bytes(std::span<const std::vector<RatePoint>> layers) {
  std::int64_t bytes = 0;
  for (const std::vector<RatePoint>& points : layers) {
    BITFALL_ASSERT(!points.empty(), "a layer without points");
    bytes += std::min_element(points.begin(), points.end(), [](const RatePoint& a, const RatePoint& b) {
               return a.bytes < b.bytes;
             })->bytes;
  }
  return bytes;
}

std::optional<std::vector<std::size_t>> choose_points(std::span<const std::vector<RatePoint>> layers,
                                                      std::int64_t budget) {
  std::int64_t rest = budget - least_bytes(layers);
  if (rest < 0) return std::nullopt;
  std::vector<std::vector<std::size_t>> hulls;
  std::vector<std::size_t> chosen;
  for (const std::vector<RatePoint>& points : layers) {
    hulls.push_back(lower_hull(points));
    chosen.push_back(hulls.back().front());
  }
  std::vector<bool> closed(layers.size(), false);
  for (const Step& step : steps_of(layers, hulls)) {
    if (closed[step.layer]) continue;
    const std::size_t to = hulls[step.layer][step.to];
    const std::int64_t more = layers[step.layer][to].bytes - layers[step.layer][chosen[step.layer]].bytes;
    if (more > rest) {
      closed[step.layer] = true;
      continue;
    }
    rest -= more;
    chosen[step.layer] = to;
  }
  spend_rest(layers, rest, chosen);
  return chosen;
}

}  // namespace bitfall
