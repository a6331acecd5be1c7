#pragma once
/// The inner loops of the resize, in vectors. Integer arithmetic: the same bytes on every processor.
#include <cstdint>
#include <span>

namespace bitfall {

/// Pillow: 32 bits less 8 for the pixel, less 2 so that a sum of rounded weights can't overflow.
constexpr int resize_precision_bits = 32 - 8 - 2;

/// Which pixels of a row make pixel x of the result: `count` from first[x] on, with weights[x * most + t]
/// from 0 to 1 in fixed point. All have as many, the last ones of weight zero: counts that differ from pixel
/// to pixel are branches that a processor can't foresee. Those beyond the row have weight zero. `first`
/// ascends.
struct RowTaps {
  std::span<const std::int64_t> first;
  const std::int32_t* weights = nullptr;
  std::int64_t most = 0, count = 0;
};

/// `count` rows of RGB pixels: out[x] = (half + sum_t weights[x][t] * in[first[x] + t]) >> 22, clamped to a
/// byte, for each of the three channels. `in` is all that may be read, the rows or more.
void resample_rows(const RowTaps& taps, std::span<const std::uint8_t> in, std::int64_t stride,
                   std::int64_t count, std::uint8_t* out);

/// out[i] = (half + sum_t weights[t] * in[t * stride + i]) >> 22, clamped to a byte, for `size` bytes of a
/// row.
void blend_rows(const std::uint8_t* in, std::int64_t stride, std::span<const std::int32_t> weights,
                std::int64_t size, std::uint8_t* out);

}  // namespace bitfall
