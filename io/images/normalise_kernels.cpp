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

/// x / divisor, rounded once.
template <class V>
HWY_INLINE V divide(V x, V divisor, V inverse) {
  const V quotient = hn::Mul(x, inverse);
  return hn::MulAdd(hn::NegMulAdd(quotient, divisor, x), inverse, quotient);
}

/// What one channel is divided by, in registers: read again for each pixel, as a compiler must that sees
/// floats written, it would cost as much as the arithmetic.
template <class V>
struct Divisors {
  V mean, std, inverse_std;
};

template <bool flip>
void pixels(const std::uint8_t* rgb, std::int64_t width, const ChannelScale* scales, float* out,
            std::int64_t plane) {
  const hn::CappedTag<float, 8> d;
  const hn::Rebind<std::uint8_t, decltype(d)> narrow;
  const hn::Rebind<std::int32_t, decltype(d)> integers;
  using V = hn::Vec<decltype(d)>;
  const auto channel = [&](int c) {
    return Divisors<V>{hn::Set(d, scales[c].mean), hn::Set(d, scales[c].std),
                       hn::Set(d, scales[c].inverse_std)};
  };
  const Divisors<V> red = channel(0), green = channel(1), blue = channel(2);
  const V largest = hn::Set(d, 255.0F), inverse_largest = hn::Set(d, 1.0F / 255.0F);
  const auto store = [&](hn::Vec<decltype(narrow)> bytes, const Divisors<V>& by, float* to) {
    const V unit = divide(hn::ConvertTo(d, hn::PromoteTo(integers, bytes)), largest, inverse_largest);
    const V result = divide(hn::Sub(unit, by.mean), by.std, by.inverse_std);
    hn::StoreU(flip ? hn::Reverse(d, result) : result, d, to);
  };
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t x = 0; x + lanes <= width; x += lanes) {
    hn::Vec<decltype(narrow)> r, g, b;
    hn::LoadInterleaved3(narrow, rgb + 3 * x, r, g, b);
    float* to = out + (flip ? width - x - lanes : x);
    store(r, red, to);
    store(g, green, to + plane);
    store(b, blue, to + 2 * plane);
  }
  for (std::int64_t x = width - width % lanes; x < width; ++x) {
    for (std::int64_t c = 0; c < 3; ++c) {
      const float unit = static_cast<float>(rgb[3 * x + c]) / 255.0F;
      out[c * plane + (flip ? width - 1 - x : x)] = (unit - scales[c].mean) / scales[c].std;
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
