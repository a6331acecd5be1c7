#include <cmath>
#include <numbers>

#include "bitfall/errors.hpp"
#include "bitfall/finetune.hpp"

namespace bitfall {

OptimizerKind optimizer_from_string(const std::string& name) {
  if (name == "sgd") return OptimizerKind::sgd;
  if (name == "adam") return OptimizerKind::adam;
  throw UsageError("the optimizer must be sgd or adam, not '" + name + "'");
}

ScheduleKind schedule_from_string(const std::string& name) {
  if (name == "constant") return ScheduleKind::constant;
  if (name == "step") return ScheduleKind::step;
  if (name == "cosine") return ScheduleKind::cosine;
  throw UsageError("the schedule must be constant, step or cosine, not '" + name + "'");
}

Precision precision_from_string(const std::string& name) {
  if (name == "fp32") return Precision::fp32;
  if (name == "bf16") return Precision::bf16;
  throw UsageError("the precision must be fp32 or bf16, not '" + name + "'");
}

double Schedule::at(std::int64_t iteration) const {
  switch (kind) {
    case ScheduleKind::constant:
      return learning_rate;
    case ScheduleKind::step: {
      double rate = learning_rate;
      // A product, not std::pow: its bits are the same with every library.
      if (step_iterations > 0)
        for (std::int64_t i = 0; i < iteration / step_iterations; ++i) rate *= step_factor;
      return rate;
    }
    case ScheduleKind::cosine:
      break;
  }
  // learning_rate (1 + cos(pi i / n)) / 2 (Loshchilov and Hutter, 2017)
  const double done = iterations > 0 ? static_cast<double>(iteration) / static_cast<double>(iterations) : 0;
  return learning_rate * 0.5 * (1 + std::cos(std::numbers::pi * done));
}

}  // namespace bitfall
