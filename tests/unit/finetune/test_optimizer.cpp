#include <cmath>
#include <vector>

#include "catch.hpp"
#include "finetune/optimizer.hpp"

using namespace bitfall;

namespace {

/// Gradients of a bowl with a different curvature in each direction.
std::vector<double> gradient_of(const std::vector<float>& x) {
  std::vector<double> g;
  for (std::size_t i = 0; i < x.size(); ++i) g.push_back(double(i + 1) * (double(x[i]) - 0.3));
  return g;
}

}  // namespace

TEST_CASE("SGD with momentum as PyTorch writes it") {
  const OptimizerParameters parameters{.momentum = 0.9, .weight_decay = 0.01};
  std::vector<float> x = {1, -2, 3};
  std::vector<double> expected(x.begin(), x.end()), buffer(3, 0);
  Optimizer optimizer(parameters, 3);
  for (int step = 0; step < 20; ++step) {
    const std::vector<double> g = gradient_of(x);
    optimizer.step(x, g, 0.05);
    for (std::size_t i = 0; i < 3; ++i) {
      const double d = g[i] + 0.01 * expected[i];
      buffer[i] = step == 0 ? d : 0.9 * buffer[i] + d;
      expected[i] -= 0.05 * buffer[i];
      REQUIRE(x[i] == Approx(expected[i]).epsilon(1e-4).margin(1e-5));
    }
  }
}

TEST_CASE("Adam's first step has the size of the learning rate, and it finds the minimum") {
  OptimizerParameters parameters{.kind = OptimizerKind::adam, .momentum = 0.9, .weight_decay = 0};
  std::vector<float> x = {1, -2, 3};
  Optimizer optimizer(parameters, 3);
  const std::vector<float> before = x;
  optimizer.step(x, gradient_of(x), 0.01);
  for (std::size_t i = 0; i < 3; ++i) REQUIRE(std::abs(x[i] - before[i]) == Approx(0.01).epsilon(1e-3));
  for (int step = 0; step < 3000; ++step) optimizer.step(x, gradient_of(x), 0.01);
  for (const float value : x) REQUIRE(value == Approx(0.3).margin(1e-3));
}

TEST_CASE("a state that is taken over goes on with the same bits") {
  for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::adam}) {
    OptimizerParameters parameters{.kind = kind};
    std::vector<float> x = {1, -2, 3};
    Optimizer first(parameters, 3);
    for (int step = 0; step < 5; ++step) first.step(x, gradient_of(x), 0.1);
    Optimizer second(parameters, 3);
    second.set_state(first.state());
    std::vector<float> y = x;
    first.step(x, gradient_of(x), 0.1);
    second.step(y, gradient_of(y), 0.1);
    REQUIRE(x == y);
  }
}
