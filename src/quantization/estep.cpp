// Only targets with fused multiply-adds, and the portable one. SSE4 would be a slower way to call std::fma,
// the newer subsets of AVX-512 add nothing to these loops, and scalable vectors can't be held in arrays.
#define HWY_DISABLED_TARGETS (~(HWY_AVX2 | HWY_AVX3 | HWY_NEON | HWY_EMU128 | HWY_SCALAR))
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quantization/estep.cpp"
#include "hwy/foreach_target.h"
// foreach_target first
#include "hwy/highway.h"
#include "quantization/estep.hpp"
#include "quantization/estep_simd-inl.hpp"

#include <algorithm>
#include <cfloat>
#include <cmath>

#include "bitfall/errors.hpp"

HWY_BEFORE_NAMESPACE();
namespace bitfall {
namespace HWY_NAMESPACE {

/// Best score and its codeword for P vectors of points.
template <int P>
struct Best {
  Vector score[P];
  IndexVector index[P];
  HWY_INLINE void reset() {
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) {
      score[p] = hn::Set(Floats(), FLT_MAX);
      index[p] = hn::Zero(Indices());
    }
  }
  HWY_INLINE void offer(int p, Vector candidate, std::int64_t candidate_index) {
    const auto better = hn::Lt(candidate, score[p]);
    const IndexVector id = hn::Set(Indices(), static_cast<std::int32_t>(candidate_index));
    index[p] = hn::IfThenElse(hn::RebindMask(Indices(), better), id, index[p]);
    score[p] = hn::Min(candidate, score[p]);
  }
};

/// accumulators[p][q] = score of point vector p and codeword q; `row` is the first of Q rows of the table.
template <int D, int P, int Q>
HWY_INLINE void scores(const float* const (&x)[P], const float* row, std::int64_t runtime_d,
                       Vector (&accumulators)[P][Q]) {
  const std::int64_t d = D > 0 ? D : runtime_d;
#pragma GCC unroll 8
  for (int q = 0; q < Q; ++q) {
    const Vector half_norm = hn::Set(Floats(), row[q * (d + 1)]);
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) accumulators[p][q] = half_norm;
  }
#pragma GCC unroll 18
  for (std::int64_t j = 0; j < d; ++j) {
    Vector v[P];
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) v[p] = hn::Load(Floats(), x[p] + j * tile_points);
#pragma GCC unroll 8
    for (int q = 0; q < Q; ++q) {
      const Vector c = hn::Set(Floats(), row[q * (d + 1) + 1 + j]);
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p) accumulators[p][q] = fused_subtract(v[p], c, accumulators[p][q]);
    }
  }
}

/// Codes and errors of P vectors of points.
template <int D, int P, int Q>
HWY_INLINE void assign_vectors(const float* group, int first_vector, const CodewordTable& table,
                               std::int32_t* codes, float* errors) {
  const std::int64_t d = D > 0 ? D : table.d;
  const float* x[P];
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) x[p] = vector_start(group, d, first_vector + p);
  Best<P> best;
  best.reset();
  const float* rows = table.rows.data();
  for (std::int64_t c = 0; c < table.padded_k; c += Q) {
    Vector accumulators[P][Q];
    scores<D, P, Q>(x, rows + c * (d + 1), d, accumulators);
#pragma GCC unroll 8
    for (int q = 0; q < Q; ++q)
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p) best.offer(p, accumulators[p][q], c + q);
  }
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) {
    const IndexVector row = hn::Mul(best.index[p], hn::Set(Indices(), static_cast<std::int32_t>(d + 1)));
    Vector error = hn::Zero(Floats());
#pragma GCC unroll 18
    for (std::int64_t j = 0; j < d; ++j) {
      const Vector difference =
          hn::Sub(hn::Load(Floats(), x[p] + j * tile_points), hn::GatherIndex(Floats(), rows + 1 + j, row));
      error = fused_add(difference, difference, error);
    }
    hn::StoreU(best.index[p], Indices(), codes + (first_vector + p) * lanes);
    hn::StoreU(error, Floats(), errors + (first_vector + p) * lanes);
  }
}

/// Two vectors of points by four codewords: eight independent chains hide the latency of the multiply-add,
/// and with best scores, indices and operands they fit the 16 registers of AVX2.
template <int D>
void assign(const float* points, std::int64_t groups, const CodewordTable& table, std::int32_t* codes,
            float* errors) {
  const std::int64_t d = D > 0 ? D : table.d;
  constexpr int P = 2, Q = 4;
  for (std::int64_t g = 0; g < groups; ++g)
    for (int v = 0; v < group_vectors; v += P)
      assign_vectors<D, P, Q>(points + g * group_points * d, v, table, codes + g * group_points,
                              errors + g * group_points);
}

void assign_any(const float* points, std::int64_t groups, const CodewordTable& table, std::int32_t* codes,
                float* errors) {
  switch (table.d) {
    case 4:
      return assign<4>(points, groups, table, codes, errors);
    case 8:
      return assign<8>(points, groups, table, codes, errors);
    case 9:
      return assign<9>(points, groups, table, codes, errors);
    case 16:
      return assign<16>(points, groups, table, codes, errors);
    case 18:
      return assign<18>(points, groups, table, codes, errors);
    default:
      return assign<0>(points, groups, table, codes, errors);
  }
}

void square_rows(const float* rows, std::int64_t count, std::int64_t d, float* norms2) {
  AlignedVector<float> columns(static_cast<std::size_t>(d * lanes), 0.0f);
  for (std::int64_t first = 0; first < count; first += lanes) {
    const std::int64_t some = HWY_MIN(static_cast<std::int64_t>(lanes), count - first);
    for (std::int64_t r = 0; r < some; ++r)
      for (std::int64_t j = 0; j < d; ++j)
        columns[static_cast<std::size_t>(j * lanes + r)] = rows[(first + r) * d + j];
    Vector norm2 = hn::Zero(Floats());
    for (std::int64_t j = 0; j < d; ++j) {
      const Vector value = hn::Load(Floats(), columns.data() + j * lanes);
      norm2 = fused_add(value, value, norm2);
    }
    HWY_ALIGN float found[lanes];
    hn::Store(norm2, Floats(), found);
    std::copy_n(found, some, norms2 + first);
  }
}

/// One vector of codewords; `columns` and `out` are rows of 16.
HWY_INLINE Vector whiten_vector(const float* factor, std::int64_t d, const float* columns, float* out) {
  Vector norm2 = hn::Zero(Floats());
  for (std::int64_t i = 0; i < d; ++i) {
    // out_i = L_ii v_i + L_(i+1)i v_(i+1) + ...: each product rounded, each sum rounded, in this order
    Vector sum = hn::Zero(Floats());
    for (std::int64_t j = i; j < d; ++j)
      sum = hn::Add(
          sum, hn::Mul(hn::Set(Floats(), factor[j * d + i]), hn::Load(Floats(), columns + j * tile_points)));
    hn::Store(sum, Floats(), out + i * tile_points);
    norm2 = fused_add(sum, sum, norm2);
  }
  return norm2;
}

HWY_INLINE Vector copy_vector(std::int64_t d, const float* columns, float* out) {
  Vector norm2 = hn::Zero(Floats());
  for (std::int64_t j = 0; j < d; ++j) {
    const Vector value = hn::Load(Floats(), columns + j * tile_points);
    hn::Store(value, Floats(), out + j * tile_points);
    norm2 = fused_add(value, value, norm2);
  }
  return norm2;
}

/// `factor` is null for the identity.
void whiten_groups(const float* factor, std::int64_t d, const float* columns, std::int64_t groups, float* out,
                   float* norms2) {
  for (std::int64_t g = 0; g < groups; ++g) {
    for (std::int64_t i = 0; i < tile_points; i += lanes) {
      const float* from = columns + g * d * tile_points + i;
      float* to = out + (g * (d + 1) + 1) * tile_points + i;
      const Vector norm2 = factor == nullptr ? copy_vector(d, from, to) : whiten_vector(factor, d, from, to);
      hn::Store(norm2, Floats(), norms2 + g * tile_points + i);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace bitfall
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bitfall {
HWY_EXPORT(assign_any);
HWY_EXPORT(square_rows);
HWY_EXPORT(whiten_groups);

void squared_norms(std::span<const float> rows, std::int64_t d, std::span<float> norms2) {
  HWY_DYNAMIC_DISPATCH(square_rows)(rows.data(), static_cast<std::int64_t>(norms2.size()), d, norms2.data());
}

void assign_groups(const float* points, std::int64_t groups, const CodewordTable& table, std::int32_t* codes,
                   float* errors) {
  HWY_DYNAMIC_DISPATCH(assign_any)(points, groups, table, codes, errors);
}

void whiten_columns(std::span<const float> factor, std::int64_t d, std::span<const float> columns,
                    std::span<float> out, std::span<float> norms2) {
  const auto groups = static_cast<std::int64_t>(norms2.size()) / tile_points;
  BITFALL_ASSERT(static_cast<std::int64_t>(columns.size()) == groups * d * tile_points &&
                     static_cast<std::int64_t>(out.size()) == groups * (d + 1) * tile_points &&
                     (factor.empty() || static_cast<std::int64_t>(factor.size()) == d * d),
                 "sizes of the codewords");
  HWY_DYNAMIC_DISPATCH(whiten_groups)
  (factor.empty() ? nullptr : factor.data(), d, columns.data(), groups, out.data(), norms2.data());
}

std::vector<std::int64_t> estep_targets() {
  return hwy::SupportedAndGeneratedTargets();
}

}  // namespace bitfall
#endif  // HWY_ONCE
