// The search for what each layer gets, against all combinations.
#include "quantization/rate_distortion.hpp"

#include <cmath>
#include <random>

#include "catch.hpp"

using namespace bitfall;

namespace {

using Layers = std::vector<std::vector<RatePoint>>;

struct Total {
  std::int64_t bytes = 0;
  double error = 0;
};

Total total(const Layers& layers, const std::vector<std::size_t>& chosen) {
  Total sum;
  for (std::size_t l = 0; l < layers.size(); ++l) {
    sum.bytes += layers[l][chosen[l]].bytes;
    sum.error += layers[l][chosen[l]].error;
  }
  return sum;
}

/// The least error of all combinations within a budget; infinite when there is none.
double least_error(const Layers& layers, std::int64_t budget, std::size_t from = 0) {
  if (from == layers.size()) return budget >= 0 ? 0 : INFINITY;
  double best = INFINITY;
  for (const RatePoint& point : layers[from])
    best = std::min(best, point.error + least_error(layers, budget - point.bytes, from + 1));
  return best;
}

Layers random_layers(std::mt19937& random, bool coarse) {
  Layers layers(1 + random() % 4);
  for (auto& points : layers)
    for (std::size_t i = 0, count = 1 + random() % 6; i < count; ++i)
      points.push_back(
          {std::int64_t(random() % (coarse ? 6 : 1000)), double(random() % (coarse ? 4 : 1000)) / 8});
  return layers;
}

/// The largest drop of error in one step of any hull.
double largest_step(const Layers& layers) {
  double largest = 0;
  for (const auto& points : layers) {
    const auto hull = lower_hull(points);
    for (std::size_t i = 1; i < hull.size(); ++i)
      largest = std::max(largest, points[hull[i - 1]].error - points[hull[i]].error);
  }
  return largest;
}

}  // namespace

TEST_CASE("the hull holds the best point for every price of a byte, and no others") {
  std::mt19937 random(1);
  for (int trial = 0; trial < 300; ++trial) {
    const auto points = random_layers(random, trial % 2 == 0).front();
    const auto hull = lower_hull(points);
    for (double price = 0; price < 50; price = price * 1.5 + 1e-3) {
      const auto cost = [&](const RatePoint& point) { return point.error + price * double(point.bytes); };
      double best = INFINITY, best_of_hull = INFINITY;
      for (const RatePoint& point : points) best = std::min(best, cost(point));
      for (const std::size_t i : hull) best_of_hull = std::min(best_of_hull, cost(points[i]));
      REQUIRE(best_of_hull == Approx(best).margin(1e-9));
    }
    double saved = INFINITY;
    for (std::size_t i = 1; i < hull.size(); ++i) {
      const RatePoint &from = points[hull[i - 1]], &to = points[hull[i]];
      REQUIRE(to.bytes > from.bytes);
      const double slope = (from.error - to.error) / double(to.bytes - from.bytes);
      REQUIRE(slope > 0);
      REQUIRE(slope < saved);
      saved = slope;
    }
  }
}

TEST_CASE("within every budget: as good as all combinations, up to a step of a hull") {
  std::mt19937 random(2);
  int exact = 0, possible = 0;
  for (int trial = 0; trial < 500; ++trial) {
    const Layers layers = random_layers(random, trial % 3 == 0);
    const std::int64_t budget = std::int64_t(random() % (trial % 3 == 0 ? 20 : 3000));
    const auto chosen = choose_points(layers, budget);
    const double best = least_error(layers, budget);
    REQUIRE(chosen.has_value() == !std::isinf(best));
    REQUIRE(chosen.has_value() == (least_bytes(layers) <= budget));
    if (!chosen) continue;
    ++possible;
    const Total found = total(layers, *chosen);
    REQUIRE(found.bytes <= budget);
    REQUIRE(found.error >= best - 1e-9);
    REQUIRE(found.error <= best + largest_step(layers) + 1e-9);
    if (found.error <= best + 1e-9) ++exact;
    // Nothing that is left could be spent.
    for (std::size_t l = 0; l < layers.size(); ++l)
      for (const RatePoint& point : layers[l])
        REQUIRE((point.error >= layers[l][(*chosen)[l]].error ||
                 found.bytes - layers[l][(*chosen)[l]].bytes + point.bytes > budget));
  }
  CHECK(exact > possible * 3 / 4);
}

TEST_CASE("where the budget is what a price of a byte would choose, the choice is the best of all") {
  std::mt19937 random(3);
  for (int trial = 0; trial < 200; ++trial) {
    const Layers layers = random_layers(random, false);
    const double price = double(random() % 1000) / 1000;
    std::int64_t budget = 0;
    double error = 0;
    for (const auto& points : layers) {
      const RatePoint* best = &points.front();
      for (const RatePoint& point : points)
        if (point.error + price * double(point.bytes) < best->error + price * double(best->bytes))
          best = &point;
      budget += best->bytes;
      error += best->error;
    }
    const auto chosen = choose_points(layers, budget);
    REQUIRE(chosen);
    REQUIRE(total(layers, *chosen).error == Approx(error).margin(1e-9));
    REQUIRE(least_error(layers, budget) == Approx(error).margin(1e-9));
  }
}
