// As estep.cpp; AVX3_DL has the 16-bit multiply-add of pairs in one instruction.
#define HWY_DISABLED_TARGETS (~(HWY_AVX2 | HWY_AVX3 | HWY_AVX3_DL | HWY_NEON | HWY_EMU128 | HWY_SCALAR))
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quantization/estep_filter.cpp"
#include "hwy/foreach_target.h"
// foreach_target first
#include "hwy/highway.h"
#include "quantization/estep_filter.hpp"
#include "quantization/estep_simd-inl.hpp"

#include <algorithm>
#include <bit>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <limits>

HWY_BEFORE_NAMESPACE();
namespace bitfall {
namespace HWY_NAMESPACE {

/// Vectors of points by codewords that are worked on at once. With 16 registers one codeword and two vectors
/// leave room for the points' words; the chain of additions is short, so two of them hide its latency.
template <int D>
constexpr int filter_vectors = HWY_TARGET == HWY_AVX2&& D > 9 ? 1 : HWY_MIN(2, group_vectors);
template <int D>
constexpr int filter_codewords = HWY_TARGET == HWY_AVX2&& D <= 9 ? 1 : 2;

/// Smallest and second smallest group minimum, and the group of the former.
template <int P>
struct GroupBounds {
  IndexVector first[P], second[P], group[P];
};

/// Bounds for P vectors of points, `words` being W x P of them.
template <int D, int P>
HWY_INLINE void bound_scores(const std::int32_t* words, const FilterTable& filter,
                             const std::int32_t* offsets, GroupBounds<P>& bounds) {
  constexpr int W = (D + 1) / 2, Q = filter_codewords<D>;
  constexpr std::int32_t most = std::numeric_limits<std::int32_t>::max();
#pragma GCC unroll 4
  for (int p = 0; p < P; ++p) {
    bounds.first[p] = bounds.second[p] = hn::Set(Indices(), most);
    bounds.group[p] = hn::Zero(Indices());
  }
  const std::int32_t* codeword = filter.words.data();
  const auto groups = static_cast<std::int32_t>(filter.groups());
  for (std::int32_t g = 0; g < groups; ++g) {
    IndexVector least[P];
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) least[p] = hn::Set(Indices(), most);
#pragma GCC unroll 1
    for (int c = 0; c < static_cast<int>(codeword_group); c += Q, codeword += Q * W, offsets += Q) {
      IndexVector sums[P][Q];
#pragma GCC unroll 4
      for (int q = 0; q < Q; ++q)
#pragma GCC unroll 4
        for (int p = 0; p < P; ++p) sums[p][q] = hn::Set(Indices(), offsets[q]);
#pragma GCC unroll 16
      for (int w = 0; w < W; ++w)
#pragma GCC unroll 4
        for (int q = 0; q < Q; ++q) {
          const IndexVector pair = hn::Set(Indices(), codeword[q * W + w]);
#pragma GCC unroll 4
          for (int p = 0; p < P; ++p)
            sums[p][q] =
                add_pair_products(pair, hn::Load(Indices(), words + (w * P + p) * lanes), sums[p][q]);
        }
#pragma GCC unroll 4
      for (int q = 0; q < Q; ++q)
#pragma GCC unroll 4
        for (int p = 0; p < P; ++p) least[p] = hn::Min(least[p], sums[p][q]);
    }
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) {
      const auto better = hn::Lt(least[p], bounds.first[p]);
      bounds.second[p] = hn::Min(bounds.second[p], hn::Max(bounds.first[p], least[p]));
      bounds.first[p] = hn::Min(bounds.first[p], least[p]);
      bounds.group[p] = hn::IfThenElse(better, hn::Set(Indices(), g), bounds.group[p]);
    }
  }
}

struct Winner {
  int index;
  float score, other;  ///< its score, and the smallest of the others when asked for
};

/// The plain scores of one point and the 16 codewords of a group; ties to the lowest index.
template <int D, bool with_other>
HWY_INLINE Winner best_of_group(const float* point, const float* columns) {
  constexpr int N = static_cast<int>(codeword_group) / lanes;
  Vector scores[N];
#pragma GCC unroll 16
  for (int i = 0; i < N; ++i) scores[i] = hn::Load(Floats(), columns + i * lanes);
#pragma GCC unroll 18
  for (int j = 0; j < D; ++j) {
    const Vector v = hn::Set(Floats(), point[j * tile_points]);
#pragma GCC unroll 16
    for (int i = 0; i < N; ++i)
      scores[i] =
          fused_subtract(v, hn::Load(Floats(), columns + (j + 1) * codeword_group + i * lanes), scores[i]);
  }
  Vector least = scores[0];
#pragma GCC unroll 16
  for (int i = 1; i < N; ++i) least = hn::Min(least, scores[i]);
  least = hn::MinOfLanes(Floats(), least);
  unsigned equal = 0;
#pragma GCC unroll 16
  for (int i = 0; i < N; ++i) equal |= lane_bits(hn::Eq(scores[i], least)) << (i * lanes);
  Winner winner{std::countr_zero(equal | 0x10000u), hn::GetLane(least), 0};
  if constexpr (with_other) {
    // Two equal scores: the other one is as small.
    if ((equal & (equal - 1)) != 0) {
      winner.other = winner.score;
    } else {
      Vector rest = hn::Set(Floats(), FLT_MAX);
#pragma GCC unroll 16
      for (int i = 0; i < N; ++i)
        rest = hn::Min(rest, hn::IfThenElse(hn::Eq(scores[i], least), rest, scores[i]));
      winner.other = hn::GetLane(hn::MinOfLanes(Floats(), rest));
    }
  }
  return winner;
}

/// The plain E-step for one point.
template <int D>
HWY_INLINE std::int32_t search_codebook(const float* point, const FilterTable& filter) {
  float least = FLT_MAX;
  std::int32_t code = 0;
  for (std::int64_t g = 0; g < filter.groups(); ++g) {
    const Winner winner =
        best_of_group<D, false>(point, filter.columns.data() + g * (D + 1) * codeword_group);
    if (!(winner.score < least)) continue;
    least = winner.score;
    code = static_cast<std::int32_t>(g * codeword_group) + winner.index;
  }
  return code;
}

/// The points of P vectors as pairs of 16-bit integers, and e_v.
template <int D, int P>
HWY_INLINE void quantize_points(const float* group, int first_vector, float scale, std::int32_t* words,
                                float* uncertainties) {
  const Vector factor = hn::Set(Floats(), scale);
#pragma GCC unroll 4
  for (int p = 0; p < P; ++p) {
    const float* x = vector_start(group, D, first_vector + p);
    Vector sum = hn::Zero(Floats());
#pragma GCC unroll 18
    for (int j = 0; j < D; j += 2) {
      const Vector low = hn::Load(Floats(), x + j * tile_points);
      sum = hn::Add(sum, hn::Abs(low));
      IndexVector word = hn::And(hn::NearestInt(hn::Mul(low, factor)), hn::Set(Indices(), 0xffff));
      if (j + 1 < D) {
        const Vector high = hn::Load(Floats(), x + (j + 1) * tile_points);
        sum = hn::Add(sum, hn::Abs(high));
        word = hn::Or(word, hn::ShiftLeft<16>(hn::NearestInt(hn::Mul(high, factor))));
      }
      hn::Store(word, Indices(), words + (j / 2 * P + p) * lanes);
    }
    // The constant covers the conversion of an integer bound to float and the subtraction.
    hn::Store(hn::Add(hn::Mul(sum, hn::Set(Floats(), 0.5001f * scale)), hn::Set(Floats(), 512.0f)), Floats(),
              uncertainties + p * lanes);
  }
}

/// Upper bound of the norms of a group's points.
template <int D>
HWY_INLINE float largest_norm(const float* group) {
  Vector largest = hn::Zero(Floats());
  for (int v = 0; v < group_vectors; ++v) {
    const float* x = vector_start(group, D, v);
    Vector norm2 = hn::Zero(Floats());
#pragma GCC unroll 18
    for (int j = 0; j < D; ++j) {
      const Vector value = hn::Load(Floats(), x + j * tile_points);
      norm2 = fused_add(value, value, norm2);
    }
    largest = hn::Max(largest, norm2);
  }
  return std::sqrt(hn::GetLane(hn::MaxOfLanes(Floats(), largest))) * 1.0001f + 1e-30f;
}

/// Codes of one group of points, whose scale is 2^t.
template <int D, bool with_others>
HWY_INLINE void filter_group(const float* group, int t, const FilterTable& filter, FilterScratch& scratch,
                             std::int32_t* codes, float* others) {
  constexpr int W = (D + 1) / 2, P = filter_vectors<D>;
  HWY_ALIGN std::int32_t words[W * P * lanes];
  HWY_ALIGN float uncertainties[P * lanes];
  HWY_ALIGN std::int32_t second[P * lanes], found[P * lanes];
  const float scale = std::ldexp(1.0f, t + filter.exponent), inverse = 1 / scale;
  for (int v = 0; v < group_vectors; v += P) {
    quantize_points<D, P>(group, v, std::ldexp(1.0f, t), words, uncertainties);
    GroupBounds<P> bounds;
    bound_scores<D, P>(words, filter, scratch.offsets.data(), bounds);
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) {
      hn::Store(bounds.second[p], Indices(), second + p * lanes);
      hn::Store(bounds.group[p], Indices(), found + p * lanes);
    }
    for (int i = 0; i < P * lanes; ++i) {
      const int point = v * lanes + i;
      const float* x = vector_start(group, D, v + i / lanes) + i % lanes;
      const Winner winner =
          best_of_group<D, with_others>(x, filter.columns.data() + found[i] * (D + 1) * codeword_group);
      const float bound = static_cast<float>(second[i]) - uncertainties[i];  // of all other groups
      const bool decided = bound > winner.score * scale;
      codes[point] = decided ? found[i] * static_cast<std::int32_t>(codeword_group) + winner.index
                             : search_codebook<D>(x, filter);
      scratch.rechecked += decided ? 0 : 1;
      if constexpr (with_others)
        others[point] =
            decided ? std::min(bound * inverse, winner.other) : -std::numeric_limits<float>::infinity();
    }
  }
}

template <int D>
HWY_INLINE void squared_errors(const float* group, const CodewordTable& table, const std::int32_t* codes,
                               float* errors) {
  const float* coordinates = table.rows.data() + 1;
  for (int v = 0; v < group_vectors; ++v) {
    const float* x = vector_start(group, D, v);
    const IndexVector row = hn::Mul(hn::LoadU(Indices(), codes + v * lanes), hn::Set(Indices(), D + 1));
    Vector error = hn::Zero(Floats());
#pragma GCC unroll 18
    for (int j = 0; j < D; ++j) {
      const Vector difference =
          hn::Sub(hn::Load(Floats(), x + j * tile_points), hn::GatherIndex(Floats(), coordinates + j, row));
      error = fused_add(difference, difference, error);
    }
    hn::StoreU(error, Floats(), errors + v * lanes);
  }
}

/// The largest t with which a group's integers fit; false when there is none in the range of a float.
inline bool choose_scale(float norm, const FilterTable& filter, int& t) {
  constexpr int largest_exponent = 60;
  t = std::min(14 - std::ilogb(norm), largest_exponent);
  if (std::ldexp(norm, t) > 32766.0f) --t;
  // |h_c| 2^(s+t) <= 2^29
  if (filter.largest_half_norm > 0)
    t = std::min(t, 28 - std::ilogb(filter.largest_half_norm) - filter.exponent);
  return t >= -largest_exponent && std::ldexp(norm, t) <= 32766.0f;
}

inline void set_offsets(const FilterTable& filter, int exponent, FilterScratch& scratch) {
  if (scratch.exponent == exponent) return;
  scratch.exponent = exponent;
  scratch.offsets.resize(static_cast<std::size_t>(filter.padded_k));
  const float scale = std::ldexp(1.0f, exponent);
  const float* half_norms = filter.half_norms.data();
  const float* uncertainties = filter.uncertainties.data();
  std::int32_t* offsets = scratch.offsets.data();
  for (std::int64_t c = 0; c < filter.padded_k; ++c)
    offsets[c] = static_cast<std::int32_t>(half_norms[c] * scale - uncertainties[c]) - 1;
  for (const std::int64_t c : filter.never_chosen) offsets[c] = 2000000000;  // above 2^29 + 2^30
}

template <int D, bool with_others>
void filter_groups(const float* points, std::int64_t groups, const CodewordTable& table,
                   const FilterTable& filter, FilterScratch& scratch, std::int32_t* codes, float* errors,
                   float* others) {
  for (std::int64_t g = 0; g < groups; ++g) {
    const float* group = points + g * group_points * D;
    const std::int64_t first = g * group_points;
    int t = 0;
    if (choose_scale(largest_norm<D>(group), filter, t)) {
      set_offsets(filter, t + filter.exponent, scratch);
      filter_group<D, with_others>(group, t, filter, scratch, codes + first,
                                   with_others ? others + first : nullptr);
    } else {
      for (std::int64_t i = 0; i < group_points; ++i) {
        codes[first + i] =
            search_codebook<D>(group + i / tile_points * D * tile_points + i % tile_points, filter);
        if constexpr (with_others) others[first + i] = -std::numeric_limits<float>::infinity();
      }
      scratch.rechecked += group_points;
    }
    squared_errors<D>(group, table, codes + first, errors + first);
  }
}

template <int D>
void filter_dimension(const float* points, std::int64_t groups, const CodewordTable& table,
                      const FilterTable& filter, FilterScratch& scratch, std::int32_t* codes, float* errors,
                      float* others) {
  if (others != nullptr)
    filter_groups<D, true>(points, groups, table, filter, scratch, codes, errors, others);
  else
    filter_groups<D, false>(points, groups, table, filter, scratch, codes, errors, others);
}

void filter_any(const float* points, std::int64_t groups, const CodewordTable& table,
                const FilterTable& filter, FilterScratch& scratch, std::int32_t* codes, float* errors,
                float* others) {
  switch (table.d) {
    case 4:
      return filter_dimension<4>(points, groups, table, filter, scratch, codes, errors, others);
    case 8:
      return filter_dimension<8>(points, groups, table, filter, scratch, codes, errors, others);
    case 9:
      return filter_dimension<9>(points, groups, table, filter, scratch, codes, errors, others);
    case 16:
      return filter_dimension<16>(points, groups, table, filter, scratch, codes, errors, others);
    default:
      return filter_dimension<18>(points, groups, table, filter, scratch, codes, errors, others);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace bitfall
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "bitfall/errors.hpp"

namespace bitfall {
namespace {

HWY_EXPORT(filter_any);

bool has_kernel(std::int64_t d) {
  return d == 4 || d == 8 || d == 9 || d == 16 || d == 18;
}

}  // namespace

bool FilterTable::pays(std::int64_t k, std::int64_t d) {
  return k >= 64 && has_kernel(d);
}

void assign_groups_filtered(const float* points, std::int64_t groups, const CodewordTable& table,
                            const FilterTable& filter, FilterScratch& scratch, std::int32_t* codes,
                            float* errors, float* others) {
  BITFALL_ASSERT(has_kernel(table.d) && filter.d == table.d, "a filter for this d");
  HWY_DYNAMIC_DISPATCH(filter_any)(points, groups, table, filter, scratch, codes, errors, others);
}

std::vector<std::int64_t> filter_targets() {
  return hwy::SupportedAndGeneratedTargets();
}

}  // namespace bitfall
#endif  // HWY_ONCE
