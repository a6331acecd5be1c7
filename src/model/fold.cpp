#include "model/fold.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/add.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/zeros_like.h>

#include <set>

namespace bitfall {

void fold_batch_norms(Network& network) {
  std::set<std::string> done;
  for (std::int64_t step = 0; step < network.step_count(); ++step) {
    const BatchNormStep* norm = network.batch_norm_of_step(step);
    if (norm == nullptr || norm->scale.empty() || norm->shift.empty() || !done.insert(norm->name).second) continue;
    const auto in_double = [&](const std::string& name) { return network.tensor(name).to(at::kDouble); };
    const at::Tensor variance = in_double(norm->running_variance), mean = in_double(norm->running_mean);
    const at::Tensor scale = in_double(norm->scale) * at::rsqrt(variance + norm->epsilon);
    network.set_tensor(norm->scale, scale);
    network.set_tensor(norm->shift, in_double(norm->shift) - mean * scale);
    network.set_tensor(norm->running_mean, at::zeros_like(mean));
    network.set_tensor(norm->running_variance, at::full_like(variance, 1 - norm->epsilon));
  }
}

}  // namespace bitfall
