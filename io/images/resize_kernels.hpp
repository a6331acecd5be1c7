#pragma once
/// The inner loops of the resize, in vectors. Integer arithmetic: the same bytes on every processor.
#include <cstdint>
#include <span>

namespace bitfall {

/// Pillow: 32 bits less 8 for the pixel, less 2 so that a sum of rounded weights can't overflow.
constexpr int resize_precision_bits = 32 - 8 - 2;

/// One row of RGB pixels: out[x] = (half + sum_t weights[x * most + t] * in[first[x] + t]) >> 22, clamped to
/// a byte, for each of the three channels; t < taps <= most. Weights of pixels beyond the row are zero.
/// `first` ascends; `in` is what may be read, the row or more.
void resample_row(std::span<const std::uint8_t> in, std::span<const std::int64_t> first,
                  const std::int32_t* weights, std::int64_t most, std::int64_t taps, std::uint8_t* out);

/// out[i] = (half + sum_t weights[t] * in[t * stride + i]) >> 22, clamped to a byte, for `size` bytes of a
/// row.
void blend_rows(const std::uint8_t* in, std::int64_t stride, std::span<const std::int32_t> weights,
                std::int64_t size, std::uint8_t* out);

}  // namespace bitfall
