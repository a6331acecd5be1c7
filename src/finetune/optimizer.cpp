#include "finetune/optimizer.hpp"

#include <cmath>

#include "bitfall/errors.hpp"

namespace bitfall {

Optimizer::Optimizer(OptimizerParameters parameters, std::size_t size) : parameters_(parameters) {
  state_.first.assign(size, 0.0F);
  if (parameters_.kind == OptimizerKind::adam) state_.second.assign(size, 0.0F);
}

void Optimizer::set_state(State state) {
  BITFALL_ASSERT(state.first.size() == state_.first.size() && state.second.size() == state_.second.size(),
                 "the state of another optimizer");
  state_ = std::move(state);
}

void Optimizer::step(std::span<float> values, std::span<const double> gradient, double learning_rate) {
  BITFALL_ASSERT(values.size() == gradient.size() && values.size() == state_.first.size(), "sizes");
  ++state_.steps;
  if (parameters_.kind == OptimizerKind::sgd)
    step_sgd(values, gradient, learning_rate);
  else
    step_adam(values, gradient, learning_rate);
}

void Optimizer::step_sgd(std::span<float> values, std::span<const double> gradient, double learning_rate) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double x = values[i];
    // v <- momentum v + (g + decay x); the first v is the gradient itself, as v starts at 0
    const double v =
        parameters_.momentum * double(state_.first[i]) + gradient[i] + parameters_.weight_decay * x;
    state_.first[i] = static_cast<float>(v);
    // x <- x - lr v
    values[i] = static_cast<float>(x - learning_rate * v);
  }
}

void Optimizer::step_adam(std::span<float> values, std::span<const double> gradient, double learning_rate) {
  const double beta1 = parameters_.momentum;
  const double beta2 = parameters_.beta2;
  const double correction1 = 1 - std::pow(beta1, static_cast<double>(state_.steps));
  const double correction2 = 1 - std::pow(beta2, static_cast<double>(state_.steps));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double x = values[i];
    const double g = gradient[i] + parameters_.weight_decay * x;
    // m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2
    const double m = beta1 * double(state_.first[i]) + (1 - beta1) * g;
    const double v = beta2 * double(state_.second[i]) + (1 - beta2) * g * g;
    state_.first[i] = static_cast<float>(m);
    state_.second[i] = static_cast<float>(v);
    // x <- x - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)
    values[i] = static_cast<float>(x - learning_rate * (m / correction1) /
                                           (std::sqrt(v / correction2) + parameters_.epsilon));
  }
}

}  // namespace bitfall
