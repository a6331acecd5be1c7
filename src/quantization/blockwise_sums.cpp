// The targets are those of estep.cpp, for the same reasons.
#define HWY_DISABLED_TARGETS (~(HWY_AVX2 | HWY_AVX3 | HWY_NEON | HWY_EMU128 | HWY_SCALAR))
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quantization/blockwise_sums.cpp"
#include "hwy/foreach_target.h"
// foreach_target first
#include "hwy/highway.h"
#include "quantization/blockwise_sums.hpp"

#include <algorithm>
#include <cmath>

HWY_BEFORE_NAMESPACE();
namespace bitfall {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Doubles = hn::CappedTag<double, 8>;
using Integers = hn::RebindToSigned<Doubles>;
using Floats4 = hn::Rebind<float, Doubles>;
constexpr int double_lanes = static_cast<int>(hn::MaxLanes(Doubles()));

void add_all_members(const float* blocks, std::int64_t d, std::span<const std::int32_t> rows,
                     const std::int32_t* codes, const double* weights, MemberSums& sums) {
  const std::int64_t padded = padded_count(d);
  constexpr std::size_t ahead = 12;
  for (std::size_t next = 0; next < rows.size(); ++next) {
    const std::int32_t r = rows[next];
    const float* block = blocks + r * d;
    __builtin_prefetch(blocks + rows[std::min(next + ahead, rows.size() - 1)] * d);
    const std::int64_t code = codes[r];
    const double weight = weights[r];
    sums.weights[static_cast<std::size_t>(code)] += weight;
    double* values = sums.values.data() + code * padded;
    std::int64_t i = 0;
    for (; i + double_lanes <= d; i += double_lanes) {
      const auto value = hn::PromoteTo(Doubles(), hn::LoadU(Floats4(), block + i));
      hn::Store(hn::Add(hn::Load(Doubles(), values + i), hn::Mul(value, hn::Set(Doubles(), weight))),
                Doubles(), values + i);
    }
    for (; i < d; ++i) values[i] += static_cast<double>(block[i]) * weight;
  }
}

/// round-half-even(x) + a constant, modulo 2^64, for |x| <= 2^62. AVX2 converts no doubles to 64-bit
/// integers. Adding M = 1.5 2^52 to a smaller number rounds it to an integer, which the low bits of the sum
/// hold. x = 2^32 high + low, high being an integer and low exact, so the sum of both roundings is that of x.
HWY_INLINE hn::Vec<Integers> rounded_with_offset(hn::Vec<Doubles> x) {
  const auto offset = hn::Set(Doubles(), 0x1.8p52);
  const auto high = hn::Add(hn::Mul(x, hn::Set(Doubles(), 0x1p-32)), offset);
  const auto low = hn::Sub(x, hn::Mul(hn::Sub(high, offset), hn::Set(Doubles(), 0x1p32)));
  return hn::Add(hn::ShiftLeft<32>(hn::BitCast(Integers(), high)),
                 hn::BitCast(Integers(), hn::Add(low, offset)));
}

/// sums += gained - lost
HWY_INLINE void add_difference(hn::Vec<Integers> gained, hn::Vec<Integers> lost, std::int64_t* sums) {
  hn::Store(hn::Add(hn::Load(Integers(), sums), hn::Sub(gained, lost)), Integers(), sums);
}

/// n G as rounded_with_offset leaves it; `spare` is which of the two rows to work on may be overwritten.
HWY_INLINE const std::int64_t* multiple(PositionGram& gram, double n, double scale, int spare) {
  const std::int64_t size = gram.padded_triangle();
  std::int64_t row = PositionGram::kept_multiples + spare;
  if (n < static_cast<double>(PositionGram::kept_multiples) && n == std::floor(n)) {
    row = static_cast<std::int64_t>(n);
    if ((gram.known >> row & 1U) != 0) return gram.multiples.data() + row * size;
    gram.known |= 1U << row;
  }
  std::int64_t* out = gram.multiples.data() + row * size;
  for (std::int64_t i = 0; i < size; i += double_lanes) {
    // n G_i, rounded, then scaled by a power of two and rounded to an integer
    const auto entry = hn::Mul(hn::Load(Doubles(), gram.triangle.data() + i), hn::Set(Doubles(), n));
    hn::Store(rounded_with_offset(hn::Mul(entry, hn::Set(Doubles(), scale))), Integers(), out + i);
  }
  return out;
}

/// N vectors of round(G gained) - round(G lost) from coordinate `first` on: chains of sums that don't wait
/// for each other.
template <int N>
HWY_INLINE void add_products(const PositionGram& gram, const ClusterChange& change, std::int64_t first,
                             double scale, std::int64_t* sums) {
  const std::int64_t padded = padded_count(gram.d);
  const double* column = gram.columns.data() + first;
  hn::Vec<Doubles> gained[N], lost[N];
#pragma GCC unroll 3
  for (int v = 0; v < N; ++v) gained[v] = lost[v] = hn::Zero(Doubles());
  for (std::int64_t b = 0; b < gram.d; ++b, column += padded) {
    // (G s)_a = sum_b G_ab s_b in the order of b, each product and each sum rounded
    const auto more = hn::Set(Doubles(), change.gained[b]), less = hn::Set(Doubles(), change.lost[b]);
#pragma GCC unroll 3
    for (int v = 0; v < N; ++v) {
      const auto entries = hn::Load(Doubles(), column + v * double_lanes);
      gained[v] = hn::Add(gained[v], hn::Mul(entries, more));
      lost[v] = hn::Add(lost[v], hn::Mul(entries, less));
    }
  }
#pragma GCC unroll 3
  for (int v = 0; v < N; ++v)
    add_difference(rounded_with_offset(hn::Mul(gained[v], hn::Set(Doubles(), scale))),
                   rounded_with_offset(hn::Mul(lost[v], hn::Set(Doubles(), scale))),
                   sums + first + v * double_lanes);
}

void apply_all_changes(PositionGram& gram, const SumScales& scales, std::span<const ClusterChange> changes) {
  const std::int64_t d = gram.d, triangle = gram.padded_triangle();
  for (const ClusterChange& change : changes) {
    if (change.gained_weight != change.lost_weight) {
      const std::int64_t* gained = multiple(gram, change.gained_weight, scales.matrix, 0);
      const std::int64_t* lost = multiple(gram, change.lost_weight, scales.matrix, 1);
      for (std::int64_t i = 0; i < triangle; i += double_lanes)
        add_difference(hn::Load(Integers(), gained + i), hn::Load(Integers(), lost + i), change.sums + i);
    }
    std::int64_t a = 0;
    for (; a + 2 * double_lanes < d; a += 3 * double_lanes)
      add_products<3>(gram, change, a, scales.vector, change.sums + triangle);
    if (a + double_lanes < d)
      add_products<2>(gram, change, a, scales.vector, change.sums + triangle);
    else if (a < d)
      add_products<1>(gram, change, a, scales.vector, change.sums + triangle);
    for (a = 0; a < padded_count(d); a += double_lanes) {
      hn::Store(hn::Zero(Doubles()), Doubles(), change.gained + a);
      hn::Store(hn::Zero(Doubles()), Doubles(), change.lost + a);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace bitfall
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bitfall {
HWY_EXPORT(add_all_members);
HWY_EXPORT(apply_all_changes);

void add_members(const float* blocks, std::int64_t d, std::span<const std::int32_t> rows,
                 const std::int32_t* codes, const double* weights, MemberSums& sums) {
  HWY_DYNAMIC_DISPATCH(add_all_members)(blocks, d, rows, codes, weights, sums);
}

void apply_changes(PositionGram& gram, const SumScales& scales, std::span<const ClusterChange> changes) {
  HWY_DYNAMIC_DISPATCH(apply_all_changes)(gram, scales, changes);
}

PositionGram::PositionGram(std::int64_t dimension)
    : d(dimension),
      triangle(static_cast<std::size_t>(padded_triangle()), 0.0),
      columns(static_cast<std::size_t>(d * padded_count(d)), 0.0),
      multiples(static_cast<std::size_t>((kept_multiples + 2) * padded_triangle()), 0) {}

void PositionGram::set(std::span<const double> entries) {
  std::size_t next = 0;
  for (std::int64_t a = 0; a < d; ++a)
    for (std::int64_t b = 0; b < d; ++b) {
      const double entry = entries[static_cast<std::size_t>(a * d + b)];
      columns[static_cast<std::size_t>(b * padded_count(d) + a)] = entry;
      if (b <= a) triangle[next++] = entry;
    }
  known = 0;
}

}  // namespace bitfall
#endif  // HWY_ONCE
