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

template <class D>
HWY_INLINE void store_channel(D d, hn::Vec<hn::Rebind<std::uint8_t, D>> bytes, const ChannelScale& scale,
                              bool flip, float* out) {
  const hn::Rebind<std::int32_t, D> integers;
  const auto value = hn::ConvertTo(d, hn::PromoteTo(integers, bytes));
  const auto unit = divide(value, hn::Set(d, 255.0F), hn::Set(d, 1.0F / 255.0F));
  const auto result =
      divide(hn::Sub(unit, hn::Set(d, scale.mean)), hn::Set(d, scale.std), hn::Set(d, scale.inverse_std));
  hn::StoreU(flip ? hn::Reverse(d, result) : result, d, out);
}

void row(const std::uint8_t* rgb, std::int64_t width, const ChannelScale* scales, bool flip, float* out,
         std::int64_t plane) {
  const hn::CappedTag<float, 8> d;
  const hn::Rebind<std::uint8_t, decltype(d)> narrow;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t x = 0;
  for (; x + lanes <= width; x += lanes) {
    hn::Vec<decltype(narrow)> channels[3];
    hn::LoadInterleaved3(narrow, rgb + 3 * x, channels[0], channels[1], channels[2]);
    float* to = out + (flip ? width - x - lanes : x);
    for (std::int64_t c = 0; c < 3; ++c) store_channel(d, channels[c], scales[c], flip, to + c * plane);
  }
  for (; x < width; ++x) {
    for (std::int64_t c = 0; c < 3; ++c) {
      const float unit = static_cast<float>(rgb[3 * x + c]) / 255.0F;
      out[c * plane + (flip ? width - 1 - x : x)] = (unit - scales[c].mean) / scales[c].std;
    }
  }
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
