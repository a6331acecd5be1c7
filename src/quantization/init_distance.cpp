// The targets are those of estep.cpp, for the same reasons.
#define HWY_DISABLED_TARGETS (~(HWY_AVX2 | HWY_AVX3 | HWY_NEON | HWY_EMU128 | HWY_SCALAR))
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quantization/init_distance.cpp"
#include "hwy/foreach_target.h"
// foreach_target first
#include "hwy/highway.h"
#include "quantization/estep_simd-inl.hpp"
#include "quantization/init_distance.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

HWY_BEFORE_NAMESPACE();
namespace bitfall {
namespace HWY_NAMESPACE {

using Doubles = hn::CappedTag<double, 8>;
using Integers = hn::RebindToSigned<Doubles>;
using HalfFloats = hn::Rebind<float, Doubles>;
using IntegerVector = hn::Vec<Integers>;

/// x + 1.5 * 2^52 has round-half-even(x) in its low bits, for |x| < 2^51.
constexpr double rounding_offset = 0x1.8p52;

/// nearest[i] = min(distances[i], |v_i - c|^2) for the points of one group.
HWY_INLINE void nearest_distances(const float* group, std::int64_t d, const float* candidate,
                                  const float* distances, float* nearest) {
  constexpr int P = HWY_MIN(4, group_vectors);
  for (int first = 0; first < group_vectors; first += P) {
    const float* x[P];
    Vector sum[P];
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) {
      x[p] = vector_start(group, d, first + p);
      sum[p] = hn::Zero(Floats());
    }
    for (std::int64_t j = 0; j < d; ++j) {
      const Vector c = hn::Set(Floats(), candidate[j]);
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) {
        const Vector difference = hn::Sub(hn::Load(Floats(), x[p] + j * tile_points), c);
        sum[p] = fused_add(difference, difference, sum[p]);
      }
    }
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) {
      const int point = (first + p) * lanes;
      hn::Store(hn::Min(sum[p], hn::Load(Floats(), distances + point)), Floats(), nearest + point);
    }
  }
}

/// Sum of round(x_i * scale) over the points of one group.
HWY_INLINE std::int64_t integer_sum(const float* x, double scale) {
  constexpr int width = static_cast<int>(hn::MaxLanes(Doubles()));
  const auto factor = hn::Set(Doubles(), scale);
  const auto offset = hn::Set(Doubles(), rounding_offset);
  IntegerVector sum = hn::Zero(Integers());
  for (int i = 0; i < static_cast<int>(group_points); i += width) {
    const auto wide = hn::PromoteTo(Doubles(), hn::Load(HalfFloats(), x + i));
    sum = hn::Add(sum, hn::BitCast(Integers(), hn::Add(hn::Mul(wide, factor), offset)));
  }
  HWY_ALIGN std::int64_t parts[width];
  hn::Store(sum, Integers(), parts);
  // Every addend carried the offset's bits; the sum modulo 2^64 loses nothing.
  auto total = std::uint64_t{0} - group_points * std::bit_cast<std::uint64_t>(rounding_offset);
  for (const std::int64_t part : parts) total += static_cast<std::uint64_t>(part);
  return static_cast<std::int64_t>(total);
}

void update(const float* points, std::int64_t groups, std::int64_t d, const float* candidate, double scale,
            float* distances, std::int64_t* group_sums) {
  for (std::int64_t g = 0; g < groups; ++g) {
    float* own = distances + g * group_points;
    nearest_distances(points + g * group_points * d, d, candidate, own, own);
    group_sums[g] = integer_sum(own, scale);
  }
}

void candidate_sums(const float* points, std::int64_t groups, std::int64_t d, const float* candidates,
                    double scale, const float* distances, std::int64_t* sums, std::int64_t count) {
  HWY_ALIGN float nearest[group_points];
  for (std::int64_t g = 0; g < groups; ++g)
    for (std::int64_t c = 0; c < count; ++c) {
      nearest_distances(points + g * group_points * d, d, candidates + c * d, distances + g * group_points,
                        nearest);
      sums[c] += integer_sum(nearest, scale);
    }
}

}  // namespace HWY_NAMESPACE
}  // namespace bitfall
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bitfall {
HWY_EXPORT(update);
HWY_EXPORT(candidate_sums);

FixedPoint distance_scale(double largest, std::int64_t points) {
  return FixedPoint::for_sum(largest, std::max(points, std::int64_t{1} << 12));
}

void update_distances(const float* points, std::int64_t groups, std::int64_t d, const float* candidate,
                      const FixedPoint& scale, float* distances, std::int64_t* group_sums) {
  HWY_DYNAMIC_DISPATCH(update)
  (points, groups, d, candidate, std::ldexp(1.0, scale.exponent()), distances, group_sums);
}

void add_candidate_sums(const float* points, std::int64_t groups, std::int64_t d, const float* candidates,
                        const FixedPoint& scale, const float* distances, std::span<std::int64_t> sums) {
  HWY_DYNAMIC_DISPATCH(candidate_sums)
  (points, groups, d, candidates, std::ldexp(1.0, scale.exponent()), distances, sums.data(),
   static_cast<std::int64_t>(sums.size()));
}

}  // namespace bitfall
#endif  // HWY_ONCE
