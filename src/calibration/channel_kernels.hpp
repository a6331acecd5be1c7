#pragma once
/// The inner loops of batch-norm statistics. No LibTorch here.
#include <cstdint>

namespace bitfall {

/// sum_i (x_i - center)^power over `length` floats, power 1 or 2, in double:
/// eight lanes (element i in lane i mod 8) that are added in order at the end,
/// on every processor. 4 bytes read for 2 or 3 operations.
[[nodiscard]] double centered_sum(const float* values, std::int64_t length, double center, int power);

}  // namespace bitfall
