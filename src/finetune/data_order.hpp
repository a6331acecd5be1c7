#pragma once
/// Which images a training step sees: a function of the seed and the step alone.
#include <cstdint>
#include <vector>

namespace bitfall {

/// All of `count` images in the random order of an epoch. `stream` keeps stages of a job apart.
[[nodiscard]] std::vector<std::int64_t> epoch_order(std::int64_t count, std::uint64_t seed,
                                                    std::uint64_t stream, std::int64_t epoch);

}  // namespace bitfall
