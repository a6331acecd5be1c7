// What a search tries for a layer, and the price that --rate gives to all.
#include "quantization/plan_candidates.hpp"

#include <set>

#include "catch.hpp"
#include "resnet_shapes.hpp"

using namespace bitfall;

namespace {

Plan small_plan(const PlanParameters& parameters) {
  testing::NetworkShapes net;
  net.add_convolution("stem", 32, 3, 3);
  net.add_convolution("body", 64, 32, 3);
  net.add_convolution("pointwise", 128, 64, 1);
  net.add_linear("fc", 10, 128);
  return make_plan(net.layers, net.tensors, parameters);
}

std::set<std::int64_t> sizes_of(const std::vector<LayerPlan>& candidates) {
  std::set<std::int64_t> sizes;
  for (const LayerPlan& candidate : candidates) sizes.insert(candidate.d);
  return sizes;
}

}  // namespace

TEST_CASE("candidates have the block sizes of their kind of layer, and consistent counts") {
  const Plan plan = small_plan({});
  CHECK(sizes_of(candidate_plans(plan.layers.at(1), {})) == std::set<std::int64_t>{4, 9, 18});
  CHECK(sizes_of(candidate_plans(plan.layers.at(2), {})) == std::set<std::int64_t>{4, 8});
  CHECK(sizes_of(candidate_plans(plan.layers.at(3), {})) == std::set<std::int64_t>{4, 8});
  for (std::size_t i = 1; i < plan.layers.size(); ++i) {
    const LayerPlan& planned = plan.layers[i];
    std::set<std::pair<std::int64_t, double>> seen;
    for (const LayerPlan& candidate : candidate_plans(planned, {})) {
      CHECK(candidate.m * candidate.d == planned.layer.columns());
      CHECK(candidate.n == candidate.m * planned.layer.rows());
      CHECK(candidate.k <= candidate.n / 2);
      CHECK(candidate.k >= 2);
      CHECK(candidate.bit_price > 0);
      CHECK(candidate.metric == planned.metric);
      CHECK(seen.insert({candidate.d, candidate.bit_price}).second);
    }
    CHECK(seen.size() >= 10);
  }
}

TEST_CASE("what the user has said about a layer stays") {
  const LayerPlan planned = small_plan({}).layers.at(1);
  PlanOverride asked;
  asked.d = 18;
  asked.k = 20;
  for (const LayerPlan& candidate : candidate_plans(planned, asked)) {
    CHECK(candidate.d == 18);
    CHECK(candidate.k == 20);
  }
}

TEST_CASE("a rate is one price of a bit for all layers") {
  PlanParameters parameters;
  parameters.rate = 0.02;
  const Plan plan = small_plan(parameters);
  // three layers; their weights together
  const double expected = 0.02 * 3 / double(64 * 32 * 9 + 128 * 64 + 10 * 128);
  for (const LayerPlan& layer : plan.layers) {
    if (layer.quantized) CHECK(layer.bit_price == Approx(expected));
    if (!layer.quantized) CHECK(layer.bit_price == 0);
  }
  // Codewords that do not pay are dropped, so the clamp of the paper is not needed: n / 2.
  CHECK(plan.layers.at(3).n == 320);
  CHECK(plan.layers.at(3).k == 160);
  CHECK(small_plan({}).layers.at(3).k == 64);
  CHECK(to_json(plan).find("bit_price") != std::string::npos);
  CHECK(to_json(small_plan({})).find("bit_price") == std::string::npos);
}
