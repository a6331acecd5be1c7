#pragma once
/// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
/// SC 2011). A number is a pure function of (seed, stream, counter): it never depends on a rank, a thread or
/// a call order.
#include <array>
#include <cstdint>

namespace bitfall {

/// The four 32-bit words of Philox4x32-10.
[[nodiscard]] std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter,
                                                  std::array<std::uint32_t, 2> key);

/// 64 random bits of (seed, stream, index).
[[nodiscard]] std::uint64_t random_bits(std::uint64_t seed, std::uint64_t stream, std::uint64_t index);
/// Uniform in [0, bound), exact up to 2^-64 bias (multiply-shift). bound > 0.
[[nodiscard]] std::uint64_t random_below(std::uint64_t seed, std::uint64_t stream, std::uint64_t index,
                                         std::uint64_t bound);

}  // namespace bitfall
