#include "reestimate.hpp"

#include "bitfall/calibration.hpp"

namespace bitfall {

void reestimate_all_batch_norms(Network& network, const ShardSet& shards, const Preprocessing& preprocessing,
                                std::int64_t images, std::int64_t micro_batch, JobContext& context) {
  const auto samples =
      choose_samples(static_cast<std::int64_t>(shards.samples().size()), images, context.options.seed);
  const auto local = local_micro_batches(cut_micro_batches(samples, micro_batch), context.communicator);
  walk(network, load_inputs(shards, preprocessing, local, context.threads, context.communicator),
       WalkParameters{.threads = context.threads}, context.communicator, [&](const WalkStep& step) {
         if (const BatchNormStep* batch_norm = network.batch_norm_of_step(step.step))
           reestimate_batch_norm(network, *batch_norm, step.inputs, context.threads, context.communicator);
       });
}

}  // namespace bitfall
