#pragma once
/// SGD with momentum and Adam over one flat vector of parameters.
#include <cstdint>
#include <span>
#include <vector>

#include "bitfall/finetune.hpp"

namespace bitfall {

class Optimizer {
 public:
  Optimizer(OptimizerParameters parameters, std::size_t size);

  /// Updates `values` in place from the batch's mean gradient. The formulas are OptimizerParameters'.
  void step(std::span<float> values, std::span<const double> gradient, double learning_rate);

  /// What a run that goes on elsewhere needs: the moments and the number of steps done.
  struct State {
    std::vector<float> first, second;  ///< `second` is empty for SGD
    std::int64_t steps = 0;
  };
  [[nodiscard]] const State& state() const { return state_; }
  void set_state(State state);

 private:
  void step_sgd(std::span<float> values, std::span<const double> gradient, double learning_rate);
  void step_adam(std::span<float> values, std::span<const double> gradient, double learning_rate);

  OptimizerParameters parameters_;
  State state_;
};

}  // namespace bitfall
