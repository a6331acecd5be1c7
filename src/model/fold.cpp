#include "model/fold.hpp"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>
#include <functional>
#include <limits>
#include <set>

namespace bitfall {
namespace {

void for_each_foldable(const Network& network, const std::function<void(const BatchNormStep&)>& work) {
  std::set<std::string> done;
  for (std::int64_t step = 0; step < network.step_count(); ++step) {
    const BatchNormStep* norm = network.batch_norm_of_step(step);
    if (norm != nullptr && norm->foldable && done.insert(norm->running_mean).second) work(*norm);
  }
}

/// The v with v + epsilon = 1 when both are of type T, as ATen's kernel computes it
/// (aten/src/ATen/native/cpu/batch_norm_kernel.cpp: 1 / sqrt(variance + epsilon)).
template <class T>
double unit_variance(double epsilon) {
  const T eps = static_cast<T>(epsilon);
  T variance = T{1} - eps;
  while (variance + eps < T{1}) variance = std::nextafter(variance, std::numeric_limits<T>::max());
  while (variance + eps > T{1}) variance = std::nextafter(variance, -std::numeric_limits<T>::max());
  return static_cast<double>(variance);
}

void set_statistics(Network& network, const BatchNormStep& norm) {
  const at::Tensor variance = network.tensor(norm.running_variance);
  const bool wide = variance.scalar_type() == at::kDouble;
  network.set_tensor(norm.running_variance,
                     at::full_like(variance, wide ? unit_variance<double>(norm.epsilon)
                                                  : unit_variance<float>(norm.epsilon)));
  network.set_tensor(norm.running_mean, at::zeros_like(network.tensor(norm.running_mean)));
}

/// The values in double precision: every channel is folded in double and rounded once.
at::Tensor in_double(const Network& network, const std::string& name) {
  return network.tensor(name).to(at::kDouble).contiguous();
}

void fold(Network& network, const BatchNormStep& norm) {
  const at::Tensor scale = in_double(network, norm.scale);
  const at::Tensor shift = in_double(network, norm.shift);
  const at::Tensor mean = in_double(network, norm.running_mean);
  const at::Tensor variance = in_double(network, norm.running_variance);
  set_statistics(network, norm);
  const at::Tensor folded_variance = in_double(network, norm.running_variance);
  at::Tensor new_scale = at::empty(scale.sizes(), at::kDouble);
  at::Tensor new_shift = at::empty(scale.sizes(), at::kDouble);
  for (std::int64_t c = 0; c < scale.numel(); ++c) {
    const double v = variance.const_data_ptr<double>()[c];
    const double m = mean.const_data_ptr<double>()[c];
    // Already folded: 1 / sqrt(v + epsilon) would be 1 only up to rounding.
    const double inverse =
        v == folded_variance.const_data_ptr<double>()[c] ? 1.0 : 1.0 / std::sqrt(v + norm.epsilon);
    const double factor = scale.const_data_ptr<double>()[c] * inverse;
    new_scale.mutable_data_ptr<double>()[c] = factor;
    new_shift.mutable_data_ptr<double>()[c] = shift.const_data_ptr<double>()[c] - m * factor;
  }
  network.set_tensor(norm.scale, new_scale);
  network.set_tensor(norm.shift, new_shift);
}

}  // namespace

void fold_batch_norms(Network& network) {
  for_each_foldable(network, [&](const BatchNormStep& norm) { fold(network, norm); });
}

std::vector<std::string> folded_statistics(const Network& network) {
  std::vector<std::string> names;
  for_each_foldable(network, [&](const BatchNormStep& norm) {
    names.push_back(norm.running_mean);
    names.push_back(norm.running_variance);
  });
  return names;
}

void set_folded_statistics(Network& network) {
  for_each_foldable(network, [&](const BatchNormStep& norm) { set_statistics(network, norm); });
}

}  // namespace bitfall
