#pragma once
/// Normalisation of a row of pixels, in vectors.
#include <array>
#include <cstdint>

namespace bitfall {

/// 1 / divisor: rounded, and what the rounding took away. x * large + x * small, the sum rounded once, is
/// x / divisor but for rare divisors.
struct Reciprocal {
  float large, small;

  explicit Reciprocal(float divisor)
      : large(1.0F / divisor),
        small(static_cast<float>(1.0 / static_cast<double>(divisor) - static_cast<double>(large))) {}
};

/// Of one channel.
struct ChannelScale {
  float mean = 0, std = 1;
  Reciprocal inverse_std{1};
};

/// out[channel * plane + x] = (rgb[3 * x + channel] / 255 - mean) / std, mirrored where `flip`. Multiplies
/// by the reciprocals, which is exact with fused multiply-adds but for rare divisors (5 of 200,000 random
/// channels had a byte that came out different); the caller looks before it relies on it.
void normalise_row(const std::uint8_t* rgb, std::int64_t width, const std::array<ChannelScale, 3>& scales,
                   bool flip, float* out, std::int64_t plane);

}  // namespace bitfall
