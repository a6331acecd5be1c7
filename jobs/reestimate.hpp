#pragma once
#include "inputs.hpp"

namespace bitfall {

/// Whether some batch norm has mean 0 and variance 1 everywhere: it was folded into scale and shift, and only
/// a teacher beside it tells what its statistics should do.
[[nodiscard]] bool has_folded_norms(const Network& network);

/// Recomputes the statistics of every batch norm on calibration images chosen by the seed, in one walk: each
/// norm sees what the ones before it, recomputed already, give (collective). `teacher`: nullptr, or the
/// network to follow.
void reestimate_all_batch_norms(Network& network, const Network* teacher, const ShardSet& shards,
                                const Preprocessing& preprocessing, std::int64_t images,
                                std::int64_t micro_batch, JobContext& context);

}  // namespace bitfall
