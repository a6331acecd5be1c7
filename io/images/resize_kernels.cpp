// SSE4 and AVX2 multiply 32-bit integers; older x86 takes the portable target. NEON on ARM.
#include "resize_kernels.hpp"

#include <algorithm>
#include <vector>

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

#if HWY_TARGET == HWY_AVX2

/// Weights for four taps at a time, each 15 low bits and 8 high ones, so that they can be multiplied in 16
/// bits: that costs a quarter of 32 bits. For each pixel and four taps the high parts, then the low ones, as
/// `pixel` wants them: (t0, t1) for each channel of the lower half, (t2, t3) for the upper half.
class SplitWeights {
 public:
  static constexpr int low_bits = 15;

  SplitWeights(const std::int32_t* weights, std::int64_t width, std::int64_t most, std::int64_t taps)
      : fours_((taps + 3) / 4), parts_(static_cast<std::size_t>(width * fours_ * 32)) {
    std::int16_t* to = parts_.data();
    for (std::int64_t x = 0; x < width; ++x)
      for (std::int64_t four = 0; four < fours_; ++four, to += 32)
        for (std::int64_t i = 0; i < 16; ++i) {
          const std::int64_t t = 4 * four + i / 8 * 2 + i % 2;
          const std::int32_t weight = t < taps ? weights[x * most + t] : 0;
          to[i] = static_cast<std::int16_t>(weight >> low_bits);
          to[16 + i] = static_cast<std::int16_t>(weight & ((1 << low_bits) - 1));
        }
  }
  [[nodiscard]] std::int64_t fours() const { return fours_; }
  [[nodiscard]] const std::int16_t* of(std::int64_t x) const { return parts_.data() + x * fours_ * 32; }

 private:
  std::int64_t fours_;
  std::vector<std::int16_t> parts_;
};

/// Reads 16 bytes for four taps, writes four.
HWY_INLINE void pixel(const std::uint8_t* from, const std::int16_t* weights, std::int64_t fours,
                      std::uint8_t* out) {
  const hn::FixedTag<std::uint8_t, 32> bytes;
  const hn::FixedTag<std::int16_t, 16> words;
  const hn::FixedTag<std::int32_t, 8> wide;
  const hn::Half<decltype(wide)> channels;
  const hn::Rebind<std::uint8_t, decltype(channels)> narrow;
  constexpr std::uint8_t none = 0x80;
  alignas(32) static constexpr std::uint8_t order[32] = {
      0, none, 3, none, 1, none, 4,  none, 2, none, 5,  none, none, none, none, none,
      6, none, 9, none, 7, none, 10, none, 8, none, 11, none, none, none, none, none};
  auto high = hn::Zero(wide), low = high;
  for (std::int64_t four = 0; four < fours; ++four, from += 12, weights += 32) {
    const auto pairs = hn::TableLookupBytesOr0(hn::LoadDup128(bytes, from), hn::Load(bytes, order));
    const auto multiply = [&](const std::int16_t* by) {
      return hn::Vec<decltype(wide)>{_mm256_madd_epi16(pairs.raw, hn::LoadU(words, by).raw)};
    };
    high = hn::Add(high, multiply(weights));
    low = hn::Add(low, multiply(weights + 16));
  }
  const auto both = hn::Add(hn::ShiftLeft<SplitWeights::low_bits>(high), low);
  const auto sum =
      hn::Add(hn::Add(hn::LowerHalf(channels, both), hn::UpperHalf(channels, both)), hn::Set(channels, half));
  hn::StoreU(hn::DemoteTo(narrow, hn::ShiftRight<resize_precision_bits>(sum)), narrow, out);
}

/// The first pixels of a row, as many as can be read and written a little beyond; returns how many.
std::int64_t row(const std::uint8_t* in, std::int64_t bytes, const std::int64_t* first, std::int64_t width,
                 const SplitWeights& weights, std::uint8_t* out) {
  std::int64_t inside = width - 1;
  while (inside > 0 && first[inside - 1] * 3 + weights.fours() * 12 + 4 > bytes) --inside;
  const std::int64_t fours = weights.fours();
  const std::int16_t* by = weights.of(0);
  if (fours == 1) {  // a loop of its own, without an inner one
    for (std::int64_t x = 0; x < inside; ++x, by += 32) pixel(in + first[x] * 3, by, 1, out + 3 * x);
    return inside;
  }
  for (std::int64_t x = 0; x < inside; ++x, by += 32 * fours)
    pixel(in + first[x] * 3, by, fours, out + 3 * x);
  return inside;
}

#endif

void rows(const RowTaps& taps, const std::uint8_t* in, const std::uint8_t* end, std::int64_t stride,
          std::int64_t count, std::uint8_t* out) {
  const auto width = static_cast<std::int64_t>(taps.first.size());
#if HWY_TARGET == HWY_AVX2
  const SplitWeights split(taps.weights, width, taps.most, taps.count);
#endif
  for (std::int64_t y = 0; y < count; ++y, in += stride, out += 3 * width) {
    const std::int64_t bytes = end - in;
    std::int64_t x = 0;
#if HWY_TARGET == HWY_AVX2
    x = row(in, bytes, taps.first.data(), width, split, out);
#endif
    for (; x < width; ++x) {
      const std::int64_t first = taps.first[static_cast<std::size_t>(x)];
      const std::int64_t there = std::min(taps.count, bytes / 3 - first);  // beyond it weights are zero
      resample_pixel(in + 3 * first, taps.weights + x * taps.most, there, out + 3 * x);
    }
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

HWY_EXPORT(rows);
HWY_EXPORT(blend);

}  // namespace

void resample_rows(const RowTaps& taps, std::span<const std::uint8_t> in, std::int64_t stride,
                   std::int64_t count, std::uint8_t* out) {
  HWY_DYNAMIC_DISPATCH(rows)(taps, in.data(), in.data() + in.size(), stride, count, out);
}

void blend_rows(const std::uint8_t* in, std::int64_t stride, std::span<const std::int32_t> weights,
                std::int64_t size, std::uint8_t* out) {
  HWY_DYNAMIC_DISPATCH(blend)
  (in, stride, weights.data(), static_cast<std::int64_t>(weights.size()), size, out);
}

}  // namespace bitfall
#endif  // HWY_ONCE
