#include "reestimate.hpp"

#include <ATen/core/Tensor.h>
#include <ATen/ops/all.h>
#include <ATen/ops/eq.h>

#include "bitfall/calibration.hpp"

namespace bitfall {

bool has_folded_norms(const Network& network) {
  for (std::int64_t step = 0; step < network.step_count(); ++step) {
    const BatchNormStep* norm = network.batch_norm_of_step(step);
    if (norm == nullptr || norm->running_mean.empty()) continue;
    const at::Tensor mean = network.tensor(norm->running_mean),
                     variance = network.tensor(norm->running_variance);
    if (mean.eq(0).all().item<bool>() && variance.eq(1).all().item<bool>()) return true;
  }
  return false;
}

void reestimate_all_batch_norms(Network& network, const Network* teacher, const ShardSet& shards,
                                const Preprocessing& preprocessing, std::int64_t images,
                                std::int64_t micro_batch, JobContext& context) {
  const auto samples =
      choose_samples(static_cast<std::int64_t>(shards.samples().size()), images, context.options.seed);
  const auto local = local_micro_batches(cut_micro_batches(samples, micro_batch), context.communicator);
  walk(network, load_inputs(shards, preprocessing, local, context.threads, context),
       WalkParameters{.threads = context.threads, .teacher = teacher}, context.communicator,
       [&](const WalkStep& step) {
         if (const BatchNormStep* batch_norm = network.batch_norm_of_step(step.step))
           reestimate_batch_norm(network, *batch_norm, step, context.threads, context.communicator);
       });
}

}  // namespace bitfall
