#pragma once
/// What a compression will need, before it starts.
#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "bitfall/network.hpp"
#include "bitfall/plan.hpp"
#include "job.hpp"

namespace bitfall {

/// Bytes of the rank that has most to do.
struct MemoryPlan {
  std::int64_t base_bytes = 0;       ///< resident now: program, libraries, the network
  std::int64_t frontier_bytes = 0;   ///< live activations of the rank's share of the images, at their peak
  std::int64_t workspace_bytes = 0;  ///< a micro-batch in flight on each thread: operator output and scratch
  std::int64_t quantizer_bytes = 0;  ///< of the layer that needs most, beside the frontier
  [[nodiscard]] std::int64_t rank_bytes() const {
    return base_bytes + frontier_bytes + workspace_bytes + quantizer_bytes;
  }
};

/// Runs one micro-batch of zeros, each image of this shape, to see what each step holds (collective).
[[nodiscard]] MemoryPlan plan_memory(const Network& network, const std::array<std::int64_t, 3>& shape,
                                     std::int64_t images, std::int64_t micro_batch, int threads,
                                     const Communicator& communicator);
/// The unquantized network walks along: its activations rest beside the student's.
void add_teacher(MemoryPlan& memory);
/// What whole Gram matrices and the sweeps over codes need at most.
void add_quantizer(MemoryPlan& memory, const Plan& plan, bool match_teacher,
                   const Communicator& communicator);
[[nodiscard]] nlohmann::json to_json(const MemoryPlan& plan);
[[nodiscard]] std::string describe(const MemoryPlan& plan);

}  // namespace bitfall
