// The targets are those of estep.cpp, for the same reasons.
#define HWY_DISABLED_TARGETS (~(HWY_AVX2 | HWY_AVX3 | HWY_NEON | HWY_EMU128 | HWY_SCALAR))
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quantization/estep_bounds.cpp"
#include "hwy/foreach_target.h"
// foreach_target first
#include "hwy/highway.h"
#include "quantization/estep_bounds.hpp"
#include "quantization/estep_simd-inl.hpp"

#include <algorithm>
#include <cfloat>
#include <cmath>

HWY_BEFORE_NAMESPACE();
namespace bitfall {
namespace HWY_NAMESPACE {

/// Twice what rounding can do to the difference of two scores of the plain E-step, as a multiple of
/// |v|^2 + max |c|^2: d + 4 roundings of sums that are at most that large. In squared distances it counts
/// twice.
HWY_INLINE float rounding_slack(std::int64_t d) {
  return 8.0f * static_cast<float>(d + 6) * 0x1p-24f;
}

template <int D>
HWY_INLINE Vector norm2_of(const float* x, std::int64_t runtime_d) {
  const std::int64_t d = D > 0 ? D : runtime_d;
  Vector norm2 = hn::Zero(Floats());
#pragma GCC unroll 18
  for (std::int64_t j = 0; j < d; ++j) {
    const Vector value = hn::Load(Floats(), x + j * tile_points);
    norm2 = fused_add(value, value, norm2);
  }
  return norm2;
}

template <int D>
std::uint64_t check(const float* group, const CodewordTable& table, const CodewordMoves& moves,
                    const std::int32_t* codes, float* errors, float* lower) {
  const std::int64_t d = D > 0 ? D : table.d;
  const float* coordinates = table.rows.data() + 1;
  const Vector slack = hn::Set(Floats(), rounding_slack(d));
  const Vector codeword_slack = hn::Set(Floats(), rounding_slack(d) * moves.largest_norm2);
  std::uint64_t undecided = 0;
  for (int v = 0; v < group_vectors; ++v) {
    const float* x = vector_start(group, d, v);
    const IndexVector code = hn::LoadU(Indices(), codes + v * lanes);
    const IndexVector row = hn::Mul(code, hn::Set(Indices(), static_cast<std::int32_t>(d + 1)));
    Vector error = hn::Zero(Floats()), norm2 = hn::Zero(Floats());
#pragma GCC unroll 18
    for (std::int64_t j = 0; j < d; ++j) {
      const Vector value = hn::Load(Floats(), x + j * tile_points);
      const Vector difference = hn::Sub(value, hn::GatherIndex(Floats(), coordinates + j, row));
      error = fused_add(difference, difference, error);
      norm2 = fused_add(value, value, norm2);
    }
    hn::StoreU(error, Floats(), errors + v * lanes);
    // The bound shrinks by the move of whichever other codeword moved most, and by its own rounding.
    const auto is_largest = hn::RebindMask(Floats(), hn::Eq(code, hn::Set(Indices(), moves.largest_code)));
    const Vector step =
        hn::IfThenElse(is_largest, hn::Set(Floats(), moves.second), hn::Set(Floats(), moves.largest));
    const Vector before = hn::LoadU(Floats(), lower + v * lanes);
    const Vector bound = hn::Sub(hn::Sub(before, step), hn::Mul(before, hn::Set(Floats(), 0x1p-22f)));
    hn::StoreU(bound, Floats(), lower + v * lanes);
    const Vector gap = hn::Max(bound, hn::GatherIndex(Floats(), moves.nearest.data(), code));
    const Vector needed = fused_add(norm2, slack, hn::Add(codeword_slack, fused_add(error, slack, error)));
    const auto kept = hn::And(hn::Gt(gap, hn::Zero(Floats())), hn::Gt(hn::Mul(gap, gap), needed));
    undecided |= static_cast<std::uint64_t>(lane_bits(hn::Not(kept))) << (v * lanes);
  }
  return undecided;
}

template <int D>
void lower_bounds(const float* group, const CodewordTable& table, const float* others, float* lower) {
  const float slack = rounding_slack(D > 0 ? D : table.d);
  const auto codeword_slack = static_cast<float>(slack * table.largest_norm2);
  for (int v = 0; v < group_vectors; ++v) {
    const Vector norm2 = norm2_of<D>(vector_start(group, D > 0 ? D : table.d, v), table.d);
    const Vector score = hn::LoadU(Floats(), others + v * lanes);
    // |v - c|^2 = |v|^2 + 2 score
    const Vector square =
        hn::Sub(fused_add(score, hn::Set(Floats(), 2.0f), norm2),
                fused_add(norm2, hn::Set(Floats(), slack), hn::Set(Floats(), codeword_slack)));
    const Vector distance = hn::Sqrt(hn::Max(square, hn::Zero(Floats())));
    hn::StoreU(hn::Mul(distance, hn::Set(Floats(), 1 - 0x1p-22f)), Floats(), lower + v * lanes);
  }
}

/// nearest[a] = the smallest squared distance of codeword a to another one.
void nearest_neighbours(const float* columns, std::int64_t stride, std::int64_t k, std::int64_t d,
                        float* nearest) {
  for (std::int64_t a = 0; a < k; ++a) {
    Vector least = hn::Set(Floats(), FLT_MAX);
    for (std::int64_t c = 0; c < k; c += lanes) {
      Vector sum = hn::Zero(Floats());
      for (std::int64_t j = 0; j < d; ++j) {
        const Vector difference =
            hn::Sub(hn::Load(Floats(), columns + j * stride + c), hn::Set(Floats(), columns[j * stride + a]));
        sum = fused_add(difference, difference, sum);
      }
      if (a >= c && a < c + lanes) {
        const IndexVector own = hn::Iota(Indices(), static_cast<std::int32_t>(c));
        const auto self = hn::Eq(own, hn::Set(Indices(), static_cast<std::int32_t>(a)));
        sum = hn::IfThenElse(hn::RebindMask(Floats(), self), hn::Set(Floats(), FLT_MAX), sum);
      }
      least = hn::Min(least, sum);
    }
    nearest[a] = hn::GetLane(hn::MinOfLanes(Floats(), least));
  }
}

std::uint64_t check_any(const float* group, const CodewordTable& table, const CodewordMoves& moves,
                        const std::int32_t* codes, float* errors, float* lower) {
  switch (table.d) {
    case 4:
      return check<4>(group, table, moves, codes, errors, lower);
    case 8:
      return check<8>(group, table, moves, codes, errors, lower);
    case 9:
      return check<9>(group, table, moves, codes, errors, lower);
    case 18:
      return check<18>(group, table, moves, codes, errors, lower);
    default:
      return check<0>(group, table, moves, codes, errors, lower);
  }
}

void lower_bounds_any(const float* group, const CodewordTable& table, const float* others, float* lower) {
  switch (table.d) {
    case 8:
      return lower_bounds<8>(group, table, others, lower);
    case 9:
      return lower_bounds<9>(group, table, others, lower);
    default:
      return lower_bounds<0>(group, table, others, lower);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace bitfall
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "bitfall/errors.hpp"

namespace bitfall {
namespace {

HWY_EXPORT(check_any);
HWY_EXPORT(lower_bounds_any);
HWY_EXPORT(nearest_neighbours);

}  // namespace

void CodewordMoves::set(std::span<const float> before, const CodewordTable& after) {
  BITFALL_ASSERT(before.size() == after.rows.size(), "two tables of one shape");
  const std::int64_t k = after.k, d = after.d;
  largest = second = 0;
  largest_code = -1;
  largest_norm2 = static_cast<float>(after.largest_norm2 * (1 + 0x1p-20));
  const std::int64_t stride = (k + tile_points - 1) / tile_points * tile_points;
  AlignedVector<float> columns(static_cast<std::size_t>(stride * d), 1e18f);
  for (std::int64_t c = 0; c < k; ++c) {
    const float* from = before.data() + c * (d + 1) + 1;
    const float* to = after.rows.data() + c * (d + 1) + 1;
    double sum = 0;
    for (std::int64_t j = 0; j < d; ++j) {
      const double step = static_cast<double>(to[j]) - static_cast<double>(from[j]);
      sum += step * step;
      columns[static_cast<std::size_t>(j * stride + c)] = to[j];
    }
    const auto move = static_cast<float>(std::sqrt(sum) * (1 + 0x1p-20));
    if (move > largest) {
      second = largest;
      largest = move;
      largest_code = static_cast<std::int32_t>(c);
    } else {
      second = std::max(second, move);
    }
  }
  nearest.resize(static_cast<std::size_t>(stride));
  HWY_DYNAMIC_DISPATCH(nearest_neighbours)(columns.data(), stride, k, d, nearest.data());
  for (float& value : nearest) value = 0.5f * std::sqrt(value) * (1 - 0x1p-20f);
}

std::uint64_t check_bounds(const float* group, const CodewordTable& table, const CodewordMoves& moves,
                           const std::int32_t* codes, float* errors, float* lower) {
  return HWY_DYNAMIC_DISPATCH(check_any)(group, table, moves, codes, errors, lower);
}

void bounds_from_scores(const float* group, const CodewordTable& table, const float* others, float* lower) {
  HWY_DYNAMIC_DISPATCH(lower_bounds_any)(group, table, others, lower);
}

}  // namespace bitfall
#endif  // HWY_ONCE
