#pragma once
#include "inputs.hpp"

namespace bitfall {

/// Recomputes the statistics of every batch norm on calibration images chosen by the seed, in one walk: each
/// norm sees what the ones before it, recomputed already, give (collective).
void reestimate_all_batch_norms(Network& network, const ShardSet& shards, const Preprocessing& preprocessing,
                                std::int64_t images, std::int64_t micro_batch, JobContext& context);

}  // namespace bitfall
