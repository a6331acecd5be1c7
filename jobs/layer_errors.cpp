#include "layer_errors.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/sub.h>

#include <algorithm>

#include "bitfall/errors.hpp"
#include "bitfall/exact_sum.hpp"
#include "src/parallel/threads.hpp"

namespace bitfall {

namespace {

at::Tensor apply(const Layer& layer, const at::Tensor& input, const at::Tensor& weight) {
  if (layer.kind == LayerKind::linear) return at::linear(input, weight);
  const std::vector<std::int64_t> no_output_padding(layer.stride.size(), 0);
  return at::convolution(input, weight, {}, layer.stride, layer.padding, layer.dilation, layer.transposed,
                         no_output_padding, layer.groups);
}

/// Sums of doubles over micro-batches and ranks that do not depend on their order.
double exact_total(const std::vector<double>& values, const Communicator& communicator) {
  double largest = 0;
  for (const double value : values) largest = std::max(largest, value);
  largest = communicator.max(largest);
  const auto addends = communicator.max(static_cast<std::int64_t>(values.size())) * communicator.size();
  // The scale must not depend on the number of ranks: addends is rounded up to a fixed bound.
  BITFALL_ASSERT(addends <= (std::int64_t{1} << 30), "micro-batches");
  const FixedPoint scale = FixedPoint::for_sum(largest, std::int64_t{1} << 30);
  std::int64_t sum = 0;
  for (const double value : values) sum += scale.to_integer(value);
  communicator.sum(std::span(&sum, 1));
  return scale.to_double(sum);
}

}  // namespace

std::vector<LayerError> measure_layer_errors(const Network& student, const Network& teacher,
                                             std::vector<at::Tensor> micro_batches, int threads,
                                             const Communicator& communicator) {
  std::vector<LayerError> errors;
  const auto before_step = [&](const WalkStep& step) {
    const auto index = step.layer;
    if (!index) return;
    const Layer& layer = student.layers().at(*index);
    if (!layer.obstacle.empty()) return;
    const at::Tensor original = student.place(teacher.tensor(layer.weight_name));
    const at::Tensor difference = original - student.place(student.tensor(layer.weight_name));
    if (difference.abs().max().item<double>() == 0) return;  // not quantized
    std::vector<double> error(step.inputs.size()), signal(step.inputs.size());
    communicator.guarded("measuring layer " + layer.name, [&] {
      parallel_for(static_cast<std::int64_t>(step.inputs.size()), threads, [&](std::int64_t i) {
        const at::NoGradGuard no_grad;
        const auto slot = static_cast<std::size_t>(i);
        error[slot] =
            apply(layer, step.inputs[slot], difference).to(at::kDouble).square().sum().item<double>();
        signal[slot] =
            apply(layer, step.inputs[slot], original).to(at::kDouble).square().sum().item<double>();
      });
    });
    const double total = exact_total(signal, communicator);
    errors.push_back({layer.name, total > 0 ? exact_total(error, communicator) / total : 0});
  };
  walk(student, std::move(micro_batches), WalkParameters{.threads = threads}, communicator, before_step);
  return errors;
}

}  // namespace bitfall
