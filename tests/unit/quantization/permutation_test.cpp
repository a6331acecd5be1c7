#include "quantization/permutation.hpp"

#include <algorithm>
#include <numeric>
#include <random>

#include "catch.hpp"
#include "permutation_oracle.hpp"
#include "quantization/block_covariance.hpp"

using namespace bitfall;

namespace {

std::vector<std::int64_t> identity(std::int64_t size) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(size));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  return order;
}

bool is_permutation_of(std::vector<std::int64_t> order, std::int64_t size) {
  std::sort(order.begin(), order.end());
  return order == identity(size);
}

/// sum of log det / d over the layers under these orders, by definition
double objective(const PermutationProblem& problem, const PermutationParameters& parameters,
                 const ChannelOrders& orders) {
  double sum = 0;
  for (const PermutedLayer& layer : problem.layers) {
    const std::vector<float> weight(layer.weight.begin(), layer.weight.end());
    sum += reference::log_determinant(weight, layer.rows, layer.d, parameters.ridge,
                                      reference::column_order(layer, problem.channels, orders)) /
           double(layer.d);
  }
  return sum;
}

ChannelOrders none(const PermutationProblem& problem) {
  return ChannelOrders(problem.channels.size());
}

FoundPermutation find(const PermutationProblem& problem, const PermutationParameters& parameters) {
  return find_permutation(problem, parameters, Communicator::self());
}

}  // namespace

TEST_CASE("block covariances against their definition, while columns move") {
  std::mt19937 random(1);
  struct Form {
    std::int64_t rows, columns, d, width;
  };
  for (const Form& form : {Form{7, 12, 4, 1}, Form{5, 36, 18, 9}, Form{9, 24, 8, 2}, Form{6, 30, 6, 5},
                           Form{3, 30, 10, 3}, Form{1, 8, 2, 1}, Form{40, 40, 1, 1}, Form{8, 140, 35, 7}}) {
    const auto weight = reference::make_weight(form.rows, form.columns, random);
    const double ridge = 0.1;  // float sums of few rows: with 1e-3 their rounding would show
    BlockCovariance covariance(weight, form.rows, form.d, ridge);
    std::vector<std::int64_t> order = identity(form.columns);
    const auto expected = [&] { return reference::log_determinant(weight, form.rows, form.d, ridge, order); };
    CHECK(covariance.log_determinant() == Approx(expected()).epsilon(1e-5).margin(1e-5));
    for (int step = 0; step < 60; ++step) {
      const std::int64_t channels = form.columns / form.width;
      const std::int64_t a = std::int64_t(random() % std::uint64_t(channels));
      const std::int64_t b = (a + 1 + std::int64_t(random() % std::uint64_t(channels - 1))) % channels;
      const BlockCovariance::Swap swap{a * form.width, b * form.width, form.width};
      const double before = covariance.log_determinant();
      const std::vector<std::int64_t> order_before = covariance.order();
      BlockCovariance::State state;
      covariance.save(state);
      covariance.swap(swap);
      if (step % 2 == 0) {  // back: the very same bits
        covariance.restore(state, std::vector{swap});
        REQUIRE(covariance.log_determinant() == before);
        REQUIRE(covariance.order() == order_before);
        continue;
      }
      std::swap_ranges(order.begin() + swap.a, order.begin() + swap.a + swap.width, order.begin() + swap.b);
      REQUIRE(covariance.order() == order);
      REQUIRE(covariance.log_determinant() == Approx(expected()).epsilon(1e-5).margin(1e-5));
    }
    // What has moved step by step is what starts there.
    BlockCovariance fresh(weight, form.rows, form.d, ridge);
    fresh.set_order(order);
    CHECK(covariance.log_determinant() == Approx(fresh.log_determinant()).epsilon(1e-11));
  }
}

TEST_CASE("the search finds the best order of all where all can be tried") {
  std::mt19937 random(2);
  int best_found = 0;
  constexpr int trials = 12;
  for (int trial = 0; trial < trials; ++trial) {
    const std::int64_t channels = 6, width = trial % 2 == 0 ? 1 : 2, d = 2 * width;
    const auto weight = reference::make_weight(8, channels * width, random);
    PermutationProblem problem{{channels}, {{"layer", weight, 8, d, 2, {{0, 0, width}}}}};
    const PermutationParameters parameters{.seed = std::uint64_t(trial)};
    const FoundPermutation found = find(problem, parameters);
    double best = objective(problem, parameters, none(problem));
    std::vector<std::int64_t> order = identity(channels);
    do best = std::min(best, objective(problem, parameters, {order}));
    while (std::next_permutation(order.begin(), order.end()));
    const double reached = objective(problem, parameters, found.orders);
    REQUIRE(found.layers.size() == 1);
    CHECK(found.layers[0].before ==
          Approx(objective(problem, parameters, none(problem))).epsilon(1e-5).margin(1e-5));
    CHECK(found.layers[0].after == Approx(reached).epsilon(1e-5).margin(1e-5));
    CHECK(reached >= best - 1e-6);
    if (reached < best + 1e-6) ++best_found;
  }
  CHECK(best_found >= trials - 3);  // swaps alone may stop short of it
}

TEST_CASE("layers that share a stream are served together") {
  std::mt19937 random(3);
  const auto first = reference::make_weight(10, 16 * 9, random),
             second = reference::make_weight(6, 16, random);
  PermutationProblem problem{{16, 5},
                             {{"a", first, 10, 18, 4, {{0, 0, 9}}}, {"b", second, 6, 4, 4, {{0, 0, 1}}}}};
  const PermutationParameters parameters{};
  const FoundPermutation found = find(problem, parameters);
  CHECK(is_permutation_of(found.orders[0], 16));
  CHECK(found.orders[1].empty());
  CHECK(objective(problem, parameters, found.orders) < objective(problem, parameters, none(problem)) - 0.05);
}

TEST_CASE("streams side by side, one of them twice, one of them fixed") {
  std::mt19937 random(4);
  const std::vector<std::int64_t> channels = {6, 0, 4};
  const std::int64_t fixed = 4;
  const auto weight = reference::make_weight(9, 6 + fixed + 4 + 6, random);
  PermutationProblem problem{channels,
                             {{"cat", weight, 9, 4, 4, {{0, 0, 1}, {1, 6, 1}, {2, 10, 1}, {0, 14, 1}}}}};
  const PermutationParameters parameters{};
  const FoundPermutation found = find(problem, parameters);
  CHECK(is_permutation_of(found.orders[0], 6));
  CHECK(found.orders[1].empty());
  CHECK(is_permutation_of(found.orders[2], 4));
  REQUIRE(found.layers.size() == 1);
  CHECK(found.layers[0].after ==
        Approx(objective(problem, parameters, found.orders)).epsilon(1e-5).margin(1e-5));
  CHECK(found.layers[0].after < found.layers[0].before);
}

TEST_CASE("where the order of channels changes nothing, it stays") {
  std::mt19937 random(5);
  const auto weight = reference::make_weight(10, 8 * 9, random);
  for (const std::int64_t d : {9, 3, 1}) {
    const PermutationProblem problem{{8}, {{"layer", weight, 10, d, 4, {{0, 0, 9}}}}};
    const FoundPermutation found = find(problem, {});
    CHECK(found.orders[0].empty());
    CHECK(found.layers.empty());
  }
  const PermutationProblem fixed{{0}, {{"layer", weight, 10, 18, 4, {{0, 0, 9}}}}};
  CHECK(find(fixed, {}).orders[0].empty());
  CHECK(find(PermutationProblem{}, {}).orders.empty());
}

TEST_CASE("a layer that needs no more than its k codewords as it is keeps its order") {
  std::mt19937 random(8);
  const auto codebook = reference::make_weight(3, 4, random);
  std::vector<float> weight;
  for (int block = 0; block < 40; ++block) {
    const std::size_t code = random() % 3;
    weight.insert(weight.end(), codebook.begin() + std::ptrdiff_t(4 * code),
                  codebook.begin() + std::ptrdiff_t(4 * code + 4));
  }
  const auto other = reference::make_weight(10, 16 * 9, random), free = reference::make_weight(10, 8, random);
  PermutationProblem problem{{16, 8},
                             {{"exact", weight, 10, 4, 3, {{0, 0, 1}}},
                              {"other", other, 10, 18, 4, {{0, 0, 9}}},
                              {"free", free, 10, 4, 4, {{1, 0, 1}}}}};
  const ChannelOrders orders = find(problem, {}).orders;
  CHECK(orders[0].empty());
  CHECK(is_permutation_of(orders[1], 8));
  problem.layers[0].k = 2;  // not enough for three different blocks
  CHECK(is_permutation_of(find(problem, {}).orders[0], 16));
}

TEST_CASE("weights without information") {
  for (const float value : {0.0f, 1.0f, 1e-30f}) {
    const std::vector<float> weight(10 * 16, value);
    const PermutationProblem problem{{16}, {{"layer", weight, 10, 4, 0, {{0, 0, 1}}}}};
    const FoundPermutation found = find(problem, {});
    CHECK(found.orders[0].empty());
    CHECK(std::isfinite(found.layers.at(0).after));
  }
  std::vector<float> dead(10 * 16, 0.0f);
  for (std::size_t i = 0; i < dead.size(); i += 16) dead[i] = float(i);
  const PermutationProblem problem{{16}, {{"layer", dead, 10, 4, 4, {{0, 0, 1}}}}};
  CHECK(std::isfinite(find(problem, {}).layers.at(0).after));
}

TEST_CASE("the order does not depend on threads, but on the seed") {
  std::mt19937 random(6);
  const auto a = reference::make_weight(10, 40, random), b = reference::make_weight(10, 24 * 9, random);
  const PermutationProblem problem{{40, 24},
                                   {{"a", a, 10, 8, 4, {{0, 0, 1}}}, {"b", b, 10, 18, 4, {{1, 0, 9}}}}};
  const ChannelOrders one = find(problem, {.seed = 1, .threads = 1}).orders;
  CHECK(find(problem, {.seed = 1, .threads = 3}).orders == one);
  CHECK(find(problem, {.seed = 2, .threads = 1}).orders != one);
}
