#include "memory_plan.hpp"

#include <algorithm>
#include <cstdio>

#include "bitfall/calibration.hpp"
#include "src/parallel/memory.hpp"

namespace bitfall {

MemoryPlan plan_memory(const Network& network, const std::array<std::int64_t, 3>& shape, std::int64_t images,
                       std::int64_t micro_batch, int threads, const Communicator& communicator) {
  // Rank 0 has the largest share of the micro-batches (Communicator::share).
  const std::int64_t micro_batches = (images + micro_batch - 1) / micro_batch;
  const std::int64_t share = Communicator::share(micro_batches, 0, communicator.size()).size();
  MemoryPlan plan;
  communicator.guarded("running one micro-batch to plan the memory", [&] {
    const WalkMemory walk = predict_walk_memory(network, shape, std::min(share * micro_batch, images),
                                                std::min(micro_batch, images), threads);
    plan.frontier_bytes = walk.frontier_bytes;
    plan.workspace_bytes = walk.workspace_bytes;
    // Resident after the trial, less what it freed: LibTorch's own pages are in by then.
    release_free_memory();
    plan.base_bytes = current_rss_bytes();
  });
  plan.base_bytes = communicator.max(plan.base_bytes);
  return plan;
}

void add_teacher(MemoryPlan& memory) {
  memory.frontier_bytes *= 2;
}

void add_quantizer(MemoryPlan& memory, const Plan& plan, bool match_teacher,
                   const Communicator& communicator) {
  for (const LayerPlan& planned : plan.layers) {
    if (!planned.quantized || planned.metric != Metric::full) continue;
    const std::int64_t columns = planned.layer.columns();
    const std::int64_t elements = planned.layer.elements();
    // The triangle of H as integers while the doubles are made of it, or as doubles beside the packed floats.
    std::int64_t bytes = 8 * columns * columns;
    // The weight and its blocks by position, whitened; P, E and a product of this rank's rows.
    bytes += 16 * elements + 12 * elements / communicator.size();
    if (match_teacher) bytes += 20 * elements;  // wanted outputs, their sums, and the target
    memory.quantizer_bytes = std::max(memory.quantizer_bytes, bytes);
  }
}

nlohmann::json to_json(const MemoryPlan& plan) {
  return {{"base_bytes", plan.base_bytes},
          {"frontier_bytes", plan.frontier_bytes},
          {"workspace_bytes", plan.workspace_bytes},
          {"quantizer_bytes", plan.quantizer_bytes},
          {"rank_bytes", plan.rank_bytes()}};
}

std::string describe(const MemoryPlan& plan) {
  char text[160];
  std::snprintf(text, sizeof text, "%.0f MiB of memory a rank (%.0f of them activations)",
                double(plan.rank_bytes()) / (1 << 20), double(plan.frontier_bytes) / (1 << 20));
  return text;
}

}  // namespace bitfall
