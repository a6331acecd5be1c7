// SSE4 and AVX2 multiply 32-bit integers; older x86 takes the portable target. NEON on ARM.
#include "resize_kernels.hpp"

#include <algorithm>

#define HWY_DISABLED_TARGETS (~(HWY_AVX2 | HWY_NEON | HWY_EMU128 | HWY_SCALAR))
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "resize_kernels.cpp"
#include "hwy/foreach_target.h"
// foreach_target first
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace bitfall {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr std::int32_t half = 1 << (resize_precision_bits - 1);

inline std::uint8_t to_byte(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::clamp(sum >> resize_precision_bits, 0, 255));
}

/// One pixel, a channel after the other.
inline void resample_pixel(const std::uint8_t* from, const std::int32_t* weights, std::int64_t count,
                           std::uint8_t* out) {
  for (int channel = 0; channel < 3; ++channel) {
    std::int32_t sum = half;
    for (std::int64_t t = 0; t < count; ++t) sum += weights[t] * from[3 * t + channel];
    out[channel] = to_byte(sum);
  }
}

/// Three lanes of four are the channels: one multiply-add a tap. Each pixel reads and writes a byte too much.
/// All pixels get `taps` taps, the last ones of weight zero: what counts differ from pixel to pixel, a
/// processor can't foresee. `fixed`: taps, where it is small; 0: any.
template <int fixed>
HWY_INLINE void pixels(const std::uint8_t* in, const std::int64_t* first, std::int64_t width,
                       const std::int32_t* weights, std::int64_t most, std::int64_t taps, std::uint8_t* out) {
  const hn::CappedTag<std::int32_t, 4> wide;
  const hn::Rebind<std::uint8_t, decltype(wide)> narrow;
  const std::int64_t count = fixed > 0 ? fixed : taps;
  for (std::int64_t x = 0; x < width; ++x, weights += most, out += 3) {
    const std::uint8_t* from = in + first[x] * 3;
    auto sum = hn::Set(wide, half);
    for (std::int64_t t = 0; t < count; ++t)
      sum = hn::Add(sum,
                    hn::Mul(hn::PromoteTo(wide, hn::LoadU(narrow, from + 3 * t)), hn::Set(wide, weights[t])));
    hn::StoreU(hn::DemoteTo(narrow, hn::ShiftRight<resize_precision_bits>(sum)), narrow, out);
  }
}

void row(const std::uint8_t* in, std::int64_t bytes, const std::int64_t* first, std::int64_t width,
         const std::int32_t* weights, std::int64_t most, std::int64_t taps, std::uint8_t* out) {
  const hn::CappedTag<std::int32_t, 4> wide;
  std::int64_t inside = hn::MaxLanes(wide) < 4 ? 0 : width - 1;  // pixels that may read and write too much
  while (inside > 0 && (first[inside - 1] + taps) * 3 + 1 > bytes) --inside;
  switch (taps) {
    case 2:
      pixels<2>(in, first, inside, weights, most, taps, out);
      break;
    case 3:
      pixels<3>(in, first, inside, weights, most, taps, out);
      break;
    case 4:
      pixels<4>(in, first, inside, weights, most, taps, out);
      break;
    default:
      pixels<0>(in, first, inside, weights, most, taps, out);
  }
  for (std::int64_t x = inside; x < width; ++x) {
    const std::int64_t count = std::min(taps, bytes / 3 - first[x]);  // beyond it weights are zero
    resample_pixel(in + first[x] * 3, weights + x * most, count, out + 3 * x);
  }
}

void blend(const std::uint8_t* in, std::int64_t stride, const std::int32_t* weights, std::int64_t count,
           std::int64_t size, std::uint8_t* out) {
  const hn::CappedTag<std::int32_t, 8> wide;
  const hn::Rebind<std::uint8_t, decltype(wide)> narrow;
  constexpr std::int64_t lanes = static_cast<std::int64_t>(hn::MaxLanes(wide));
  std::int64_t i = 0;
  for (; i + 2 * lanes <= size; i += 2 * lanes) {
    auto low = hn::Set(wide, half), high = low;
    for (std::int64_t t = 0; t < count; ++t) {
      const std::uint8_t* from = in + t * stride + i;
      const auto weight = hn::Set(wide, weights[t]);
      low = hn::Add(low, hn::Mul(hn::PromoteTo(wide, hn::LoadU(narrow, from)), weight));
      high = hn::Add(high, hn::Mul(hn::PromoteTo(wide, hn::LoadU(narrow, from + lanes)), weight));
    }
    hn::StoreU(hn::DemoteTo(narrow, hn::ShiftRight<resize_precision_bits>(low)), narrow, out + i);
    hn::StoreU(hn::DemoteTo(narrow, hn::ShiftRight<resize_precision_bits>(high)), narrow, out + i + lanes);
  }
  for (; i < size; ++i) {
    std::int32_t sum = half;
    for (std::int64_t t = 0; t < count; ++t) sum += weights[t] * in[t * stride + i];
    out[i] = to_byte(sum);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace bitfall
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bitfall {
namespace {

HWY_EXPORT(row);
HWY_EXPORT(blend);

}  // namespace

void resample_row(std::span<const std::uint8_t> in, std::span<const std::int64_t> first,
                  const std::int32_t* weights, std::int64_t most, std::int64_t taps, std::uint8_t* out) {
  HWY_DYNAMIC_DISPATCH(row)
  (in.data(), static_cast<std::int64_t>(in.size()), first.data(), static_cast<std::int64_t>(first.size()),
   weights, most, taps, out);
}

void blend_rows(const std::uint8_t* in, std::int64_t stride, std::span<const std::int32_t> weights,
                std::int64_t size, std::uint8_t* out) {
  HWY_DYNAMIC_DISPATCH(blend)
  (in, stride, weights.data(), static_cast<std::int64_t>(weights.size()), size, out);
}

}  // namespace bitfall
#endif  // HWY_ONCE
