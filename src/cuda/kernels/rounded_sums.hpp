#pragma once
/// Float products added to 64-bit integers of one scale.
#include <cstdint>

#include "cuda/device.hpp"

namespace bitfall::cuda {

/// sums[i] += round-half-even(product[i] factor), the bits of FixedPoint::to_integer. Bytes: 4 read, 8 read
/// and 8 written per value.
void add_rounded(const float* product, std::int64_t count, double factor, std::int64_t* sums,
                 const Device& device);

/// lower[a (a + 1) / 2 + b] += round-half-even(product[a columns + b] factor) for b <= a.
void add_rounded_lower(const float* product, std::int64_t columns, double factor, std::int64_t* lower,
                       const Device& device);

}  // namespace bitfall::cuda
