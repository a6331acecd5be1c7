#pragma once
/// The inner loops of the statistics, on plain pointers. Sums run in sixteen lanes that are added in a fixed order, so
/// every instruction set gives the same bits.
#include <cstdint>

namespace bitfall {

constexpr std::int64_t statistic_lanes = 16;

/// out[a * d + b] += sum_i x[a][i] * x[b][i] for a <= b. `x` is d rows of `length` floats, `stride` floats apart;
/// `length` must be a multiple of statistic_lanes (pad with zeros). d (d + 1) / 2 products a column from 4 d bytes.
void add_products(const float* x, std::int64_t d, std::int64_t length, std::int64_t stride, double* out);

/// sum_i (x_i - center)^power for power 1 or 2.
[[nodiscard]] double centered_sum(const float* x, std::int64_t length, double center, int power);

}  // namespace bitfall
