// The resize's second pass. Targets as in resize_kernels.cpp.
#include <cstring>
#include <vector>

#include "resize_kernels.hpp"
#include "split_weights.hpp"

#define HWY_DISABLED_TARGETS (~(HWY_AVX2 | HWY_NEON | HWY_EMU128 | HWY_SCALAR))
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "blend_kernels.cpp"
#include "hwy/foreach_target.h"
// foreach_target first
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace bitfall {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// Bytes from `i` on.
void blend_rest(const std::uint8_t* in, std::int64_t stride, const std::int32_t* weights, std::int64_t count,
                std::int64_t i, std::int64_t size, std::uint8_t* out) {
  for (; i < size; ++i) {
    std::int32_t sum = resize_half;
    for (std::int64_t t = 0; t < count; ++t) sum += weights[t] * in[t * stride + i];
    out[i] = resized_byte(sum);
  }
}

#if HWY_TARGET == HWY_AVX2

constexpr std::int64_t bytes_at_once = 32;
using Bytes = hn::Vec<hn::FixedTag<std::uint8_t, 32>>;
using Words = hn::Vec<hn::FixedTag<std::int16_t, 16>>;
using Sums = hn::Vec<hn::FixedTag<std::int32_t, 8>>;

/// Sums of 16 bytes: of the high parts in their order, of the low ones those of even bytes and of odd ones.
struct HalfSums {
  Words high;
  Sums even, odd;
};

/// `bytes`: of two rows in turn; `words`: two bytes of one, two of the other.
HWY_INLINE HalfSums sum_pair(Bytes bytes, Bytes words, const WeightPair& pair) {
  const hn::FixedTag<std::int16_t, 16> d;
  const hn::FixedTag<std::uint16_t, 16> bits;
  std::int32_t low = 0;
  std::memcpy(&low, pair.low, sizeof low);
  const auto by_low = _mm256_set1_epi32(low);
  const auto by_high = _mm256_set1_epi16(static_cast<std::int16_t>(pair.high[0] | pair.high[1] << 8));
  const auto even = hn::And(hn::BitCast(d, words), hn::Set(d, 0xFF));
  const auto odd = hn::ShiftRight<8>(hn::BitCast(bits, words));
  return {Words{_mm256_maddubs_epi16(bytes.raw, by_high)}, Sums{_mm256_madd_epi16(even.raw, by_low)},
          Sums{_mm256_madd_epi16(odd.raw, by_low)}};
}

HWY_INLINE HalfSums add(const HalfSums& a, const HalfSums& b) {
  return {hn::Add(a.high, b.high), hn::Add(a.even, b.even), hn::Add(a.odd, b.odd)};
}

HWY_INLINE Words finish(const HalfSums& sums) {
  const hn::FixedTag<std::int16_t, 16> words;
  const hn::FixedTag<std::uint32_t, 8> bits;
  const Words low = hn::OddEven(hn::BitCast(words, sums.odd),
                                hn::BitCast(words, hn::ShiftRight<16>(hn::BitCast(bits, sums.even))));
  return hn::MulFixedPoint15(hn::Add(sums.high, low), hn::Set(words, resize_word_factor));
}

/// `size` is at least 32. `fixed` pairs, or where it is 0 as many as `weights` has.
template <std::size_t fixed>
HWY_NOINLINE void blend_pairs(const std::uint8_t* in, std::int64_t stride,
                              std::span<const WeightPair> weights, std::int64_t count, std::int64_t size,
                              std::uint8_t* out) {
  const hn::FixedTag<std::uint8_t, 32> bytes;
  const hn::FixedTag<std::uint16_t, 16> words;
  const std::size_t pairs = fixed == 0 ? weights.size() : fixed;
  for (std::int64_t done = 0; done < size; done += bytes_at_once) {
    const std::int64_t i = std::min(done, size - bytes_at_once);  // the last ones again where 32 aren't left
    HalfSums first, second;
    for (std::size_t p = 0; p < pairs; ++p) {
      const std::int64_t t = 2 * static_cast<std::int64_t>(p);
      const auto a = hn::LoadU(bytes, in + t * stride + i);
      const auto b = hn::LoadU(bytes, in + std::min(t + 1, count - 1) * stride + i);
      const auto as = hn::BitCast(words, a), bs = hn::BitCast(words, b);
      const HalfSums lower = sum_pair(hn::InterleaveLower(bytes, a, b),
                                      hn::BitCast(bytes, hn::InterleaveLower(words, as, bs)), weights[p]);
      const HalfSums upper = sum_pair(hn::InterleaveUpper(bytes, a, b),
                                      hn::BitCast(bytes, hn::InterleaveUpper(words, as, bs)), weights[p]);
      first = p == 0 ? lower : add(first, lower);
      second = p == 0 ? upper : add(second, upper);
    }
    hn::StoreU(Bytes{_mm256_packus_epi16(finish(first).raw, finish(second).raw)}, bytes, out + i);
  }
}

void blend(const std::uint8_t* in, std::int64_t stride, const std::int32_t* weights, std::int64_t count,
           std::int64_t size, std::uint8_t* out) {
  if (size < bytes_at_once) return blend_rest(in, stride, weights, count, 0, size, out);
  constexpr std::size_t usual = 4;
  const auto pairs = static_cast<std::size_t>((count + 1) / 2);
  WeightPair few[usual];
  std::vector<WeightPair> many(pairs > usual ? pairs : 0);
  const std::span<WeightPair> split = pairs > usual ? std::span(many) : std::span(few, pairs);
  split_weights({weights, static_cast<std::size_t>(count)}, split);
  const auto go = pairs == 1 ? blend_pairs<1> : pairs == 2 ? blend_pairs<2> : blend_pairs<0>;
  go(in, stride, split, count, size, out);
}

#else

void blend(const std::uint8_t* in, std::int64_t stride, const std::int32_t* weights, std::int64_t count,
           std::int64_t size, std::uint8_t* out) {
  const hn::CappedTag<std::int32_t, 8> wide;
  const hn::Rebind<std::uint8_t, decltype(wide)> narrow;
  constexpr std::int64_t lanes = static_cast<std::int64_t>(hn::MaxLanes(wide));
  std::int64_t i = 0;
  for (; i + 2 * lanes <= size; i += 2 * lanes) {
    auto low = hn::Set(wide, resize_half), high = low;
    for (std::int64_t t = 0; t < count; ++t) {
      const std::uint8_t* from = in + t * stride + i;
      const auto weight = hn::Set(wide, weights[t]);
      low = hn::Add(low, hn::Mul(hn::PromoteTo(wide, hn::LoadU(narrow, from)), weight));
      high = hn::Add(high, hn::Mul(hn::PromoteTo(wide, hn::LoadU(narrow, from + lanes)), weight));
    }
    hn::StoreU(hn::DemoteTo(narrow, hn::ShiftRight<resize_precision_bits>(low)), narrow, out + i);
    hn::StoreU(hn::DemoteTo(narrow, hn::ShiftRight<resize_precision_bits>(high)), narrow, out + i + lanes);
  }
  blend_rest(in, stride, weights, count, i, size, out);
}

#endif

}  // namespace HWY_NAMESPACE
}  // namespace bitfall
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bitfall {
namespace {

HWY_EXPORT(blend);

}  // namespace

void blend_rows(const std::uint8_t* in, std::int64_t stride, std::span<const std::int32_t> weights,
                std::int64_t size, std::uint8_t* out) {
  HWY_DYNAMIC_DISPATCH(blend)
  (in, stride, weights.data(), static_cast<std::int64_t>(weights.size()), size, out);
}

}  // namespace bitfall
#endif  // HWY_ONCE
