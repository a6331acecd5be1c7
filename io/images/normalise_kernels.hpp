#pragma once
/// Normalisation of a row of pixels, in vectors.
#include <array>
#include <cstdint>

namespace bitfall {

/// Of one channel.
struct ChannelScale {
  float mean = 0, std = 1, inverse_std = 1;
};

/// out[channel * plane + x] = (rgb[3 * x + channel] / 255 - mean) / std, mirrored where `flip`. Divides by
/// multiplying with the reciprocal and correcting the quotient by its remainder: a third of a division's
/// time. Exact with fused multiply-adds but for rare divisors; the caller looks before it relies on it.
void normalise_row(const std::uint8_t* rgb, std::int64_t width, const std::array<ChannelScale, 3>& scales,
                   bool flip, float* out, std::int64_t plane);

}  // namespace bitfall
