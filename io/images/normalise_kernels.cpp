// AVX2 has fused multiply-adds, as NEON; older x86 takes the portable target.
#include "normalise_kernels.hpp"

#include <cmath>

#define HWY_DISABLED_TARGETS (~(HWY_AVX2 | HWY_NEON | HWY_EMU128 | HWY_SCALAR))
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "normalise_kernels.cpp"
#include "hwy/foreach_target.h"
// foreach_target first
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace bitfall {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::Vec<hn::CappedTag<float, 8>>;
using Integers = hn::Vec<hn::CappedTag<std::int32_t, 8>>;

/// In registers, as all of a channel: read again for each pixel, as a compiler must that sees floats written,
/// it would cost as much as the arithmetic.
struct Factor {
  Floats large, small;

  explicit Factor(const Reciprocal& from)
      : large(hn::Set(hn::CappedTag<float, 8>(), from.large)),
        small(hn::Set(hn::CappedTag<float, 8>(), from.small)) {}
  [[nodiscard]] HWY_INLINE Floats times(Floats x) const { return hn::MulAdd(x, large, hn::Mul(x, small)); }
};

struct Channel {
  Floats mean;
  Factor inverse_std;
};

/// As many pixels as a vector has floats, mirrored where `flip`.
template <bool flip>
class Pixels {
 public:
  explicit Pixels(const std::uint8_t* rgb);
  template <int c>
  [[nodiscard]] Integers channel() const;

 private:
#if HWY_TARGET == HWY_AVX2
  hn::Vec<hn::FixedTag<std::uint8_t, 32>> bytes_;
#else
  hn::Vec<hn::Rebind<std::uint8_t, hn::CappedTag<float, 8>>> channels_[3];
#endif
};

#if HWY_TARGET == HWY_AVX2

/// Of 24 bytes the first 16 have four pixels, the last 16 the other four: one half of the vector each, so
/// that a shuffle takes a channel out of both.
template <bool flip>
HWY_INLINE Pixels<flip>::Pixels(const std::uint8_t* rgb)
    : bytes_(hn::Combine(hn::FixedTag<std::uint8_t, 32>(),
                         hn::LoadU(hn::FixedTag<std::uint8_t, 16>(), rgb + (flip ? 0 : 8)),
                         hn::LoadU(hn::FixedTag<std::uint8_t, 16>(), rgb + (flip ? 8 : 0)))) {}

template <bool flip>
template <int c>
HWY_INLINE Integers Pixels<flip>::channel() const {
  struct Order {
    std::uint8_t bytes[32];
    /// An integer's lowest byte comes from a pixel, the other three are zero.
    constexpr Order() : bytes() {
      for (int i = 0; i < 32; ++i) {
        const int in_half = i % 16 / 4, pixel = flip ? 3 - in_half : in_half;
        const int begin = (i < 16) == flip ? 4 : 0;  // the last 16 bytes begin with four of other pixels
        bytes[i] = static_cast<std::uint8_t>(i % 4 == 0 ? begin + 3 * pixel + c : 0x80);
      }
    }
  };
  alignas(32) static constexpr Order order;
  return hn::BitCast(
      hn::FixedTag<std::int32_t, 8>(),
      hn::TableLookupBytesOr0(bytes_, hn::Load(hn::FixedTag<std::uint8_t, 32>(), order.bytes)));
}

#else

template <bool flip>
HWY_INLINE Pixels<flip>::Pixels(const std::uint8_t* rgb) {
  const hn::Rebind<std::uint8_t, hn::CappedTag<float, 8>> narrow;
  hn::LoadInterleaved3(narrow, rgb, channels_[0], channels_[1], channels_[2]);
}

template <bool flip>
template <int c>
HWY_INLINE Integers Pixels<flip>::channel() const {
  const hn::CappedTag<std::int32_t, 8> wide;
  const Integers values = hn::PromoteTo(wide, channels_[c]);
  return flip ? hn::Reverse(wide, values) : values;
}

#endif

/// Writes ascending addresses, mirrored or not: descending ones take twice the time (the caches fetch ahead).
template <bool flip>
HWY_NOINLINE void pixels(const std::uint8_t* rgb, std::int64_t width, const ChannelScale* scales, float* out,
                         std::int64_t plane) {
  const hn::CappedTag<float, 8> d;
  const auto channel = [&](int c) {
    return Channel{hn::Set(d, scales[c].mean), Factor(scales[c].inverse_std)};
  };
  const Channel red = channel(0), green = channel(1), blue = channel(2);
  const Factor inverse_largest{Reciprocal(255.0F)};
  const auto store = [&](Integers bytes, const Channel& by, float* to) {
    const Floats unit = inverse_largest.times(hn::ConvertTo(d, bytes));
    hn::StoreU(by.inverse_std.times(hn::Sub(unit, by.mean)), d, to);
  };
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t x = 0; x + lanes <= width; x += lanes) {
    const Pixels<flip> some(rgb + 3 * (flip ? width - x - lanes : x));
    store(some.template channel<0>(), red, out + x);
    store(some.template channel<1>(), green, out + plane + x);
    store(some.template channel<2>(), blue, out + 2 * plane + x);
  }
  for (std::int64_t x = width - width % lanes; x < width; ++x) {
    for (std::int64_t c = 0; c < 3; ++c) {
      const float unit = static_cast<float>(rgb[3 * (flip ? width - 1 - x : x) + c]) / 255.0F;
      out[c * plane + x] = (unit - scales[c].mean) / scales[c].std;
    }
  }
}

void row(const std::uint8_t* rgb, std::int64_t width, const ChannelScale* scales, bool flip, float* out,
         std::int64_t plane) {
  if (flip)
    pixels<true>(rgb, width, scales, out, plane);
  else
    pixels<false>(rgb, width, scales, out, plane);
}

}  // namespace HWY_NAMESPACE
}  // namespace bitfall
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bitfall {
namespace {

HWY_EXPORT(row);

}  // namespace

void normalise_row(const std::uint8_t* rgb, std::int64_t width, const std::array<ChannelScale, 3>& scales,
                   bool flip, float* out, std::int64_t plane) {
  HWY_DYNAMIC_DISPATCH(row)(rgb, width, scales.data(), flip, out, plane);
}

}  // namespace bitfall
#endif  // HWY_ONCE
