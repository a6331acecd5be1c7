// Vectors of at most 16 floats with fused multiply-adds on every target. Included once per Highway target,
// after hwy/highway.h (see hwy/foreach_target.h for the toggling guard).
#if defined(BITFALL_ESTEP_SIMD_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef BITFALL_ESTEP_SIMD_INL_HPP
#undef BITFALL_ESTEP_SIMD_INL_HPP
#else
#define BITFALL_ESTEP_SIMD_INL_HPP
#endif

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "quantization/kmeans_blocks.hpp"

HWY_BEFORE_NAMESPACE();
namespace bitfall {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::CappedTag<float, 16>;
using Vector = hn::Vec<Floats>;
using Indices = hn::RebindToSigned<Floats>;
using IndexVector = hn::Vec<Indices>;
constexpr int lanes = static_cast<int>(hn::MaxLanes(Floats()));
/// Vectors that cover one coordinate of a group of points.
constexpr int group_vectors = static_cast<int>(group_points) / lanes;

/// Where vector `v` of a group finds its points' coordinate 0; coordinate j lies j * tile_points further.
HWY_INLINE const float* vector_start(const float* group, std::int64_t d, int v) {
  constexpr int per_tile = static_cast<int>(tile_points) / lanes;
  return group + static_cast<std::int64_t>(v / per_tile) * d * tile_points + v % per_tile * lanes;
}

/// a * b + c with one rounding in each lane. Targets without the instruction use std::fma: slow, the same
/// bits.
HWY_INLINE Vector fused_add(Vector a, Vector b, Vector c) {
#if HWY_NATIVE_FMA
  return hn::MulAdd(a, b, c);
#else
  HWY_ALIGN float x[lanes], y[lanes], z[lanes];
  hn::Store(a, Floats(), x);
  hn::Store(b, Floats(), y);
  hn::Store(c, Floats(), z);
  for (int i = 0; i < lanes; ++i) z[i] = std::fma(x[i], y[i], z[i]);
  return hn::Load(Floats(), z);
#endif
}

/// c - a * b with one rounding in each lane.
HWY_INLINE Vector fused_subtract(Vector a, Vector b, Vector c) {
#if HWY_NATIVE_FMA
  return hn::NegMulAdd(a, b, c);
#else
  return fused_add(hn::Neg(a), b, c);
#endif
}

/// sum + a.low * b.low + a.high * b.high, the low and high 16 bits of each lane being signed integers.
HWY_INLINE IndexVector add_pair_products(IndexVector a, IndexVector b, IndexVector sum) {
#if HWY_TARGET == HWY_AVX3_DL
  return IndexVector{_mm512_dpwssd_epi32(sum.raw, a.raw, b.raw)};
#elif HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  const hn::Repartition<std::int16_t, Indices> halves;
  IndexVector unused = hn::Zero(Indices());  // these targets leave the second sum as it is
  return hn::ReorderWidenMulAccumulate(Indices(), hn::BitCast(halves, a), hn::BitCast(halves, b), sum,
                                       unused);
#else
  const auto low = [](IndexVector x) { return hn::ShiftRight<16>(hn::ShiftLeft<16>(x)); };
  const IndexVector products =
      hn::Add(hn::Mul(low(a), low(b)), hn::Mul(hn::ShiftRight<16>(a), hn::ShiftRight<16>(b)));
  return hn::Add(sum, products);
#endif
}

/// Bit i is set when lane i of the mask is.
template <class Mask>
HWY_INLINE unsigned lane_bits(Mask mask) {
  std::uint8_t bytes[8] = {};
  hn::StoreMaskBits(Floats(), mask, bytes);
  return bytes[0] | static_cast<unsigned>(bytes[1]) << 8;
}

}  // namespace HWY_NAMESPACE
}  // namespace bitfall
HWY_AFTER_NAMESPACE();

#endif  // toggling guard
