// How the filter scores codewords exactly. Included once per Highway target, after hwy/highway.h (see
// hwy/foreach_target.h for the toggling guard).
#if defined(BITFALL_ESTEP_KNOWN_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef BITFALL_ESTEP_KNOWN_INL_HPP
#undef BITFALL_ESTEP_KNOWN_INL_HPP
#else
#define BITFALL_ESTEP_KNOWN_INL_HPP
#endif

#include <cmath>
#include <cstdint>

#include "quantization/estep_filter.hpp"
#include "quantization/estep_simd-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace bitfall {
namespace HWY_NAMESPACE {

#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128

/// See score_known. As a part of |v|^2 + |score|, in squared distances.
constexpr float score_slack = 0x1p-14f;
/// The same where squares are denormal numbers, whose rounding is no part of them: more than all of it.
constexpr float tiny_slack = 0x1p-118f;

/// columns[j][i] = h_c, then the coordinates of the codeword of point i of a tile.
template <int D>
HWY_INLINE void gather_rows(const CodewordTable& table, const std::int32_t* codes, float* columns) {
  const hn::FixedTag<float, 4> four;
  const hn::FixedTag<double, 2> two;
  const auto pairs = [&](auto vector) { return hn::BitCast(two, vector); };
  for (int i = 0; i < static_cast<int>(tile_points); i += 4) {
    const float* row[4];
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r)
      row[r] = table.rows.data() + static_cast<std::int64_t>(codes[i + r]) * (D + 1);
#pragma GCC unroll 5
    for (int j = 0; j <= D; j += 4) {
      const auto a = hn::LoadU(four, row[0] + j), b = hn::LoadU(four, row[1] + j);
      const auto c = hn::LoadU(four, row[2] + j), d = hn::LoadU(four, row[3] + j);
      const auto low_ab = pairs(hn::InterleaveLower(four, a, b)),
                 low_cd = pairs(hn::InterleaveLower(four, c, d));
      const auto high_ab = pairs(hn::InterleaveUpper(four, a, b)),
                 high_cd = pairs(hn::InterleaveUpper(four, c, d));
      float* out = columns + j * tile_points + i;
      hn::Store(hn::BitCast(four, hn::InterleaveLower(two, low_ab, low_cd)), four, out);
      hn::Store(hn::BitCast(four, hn::InterleaveUpper(two, low_ab, low_cd)), four, out + tile_points);
      hn::Store(hn::BitCast(four, hn::InterleaveLower(two, high_ab, high_cd)), four, out + 2 * tile_points);
      hn::Store(hn::BitCast(four, hn::InterleaveUpper(two, high_ab, high_cd)), four, out + 3 * tile_points);
    }
  }
}

/// For one tile: errors = |v - c|^2 and scores = h_c - <v, c> for the codewords of `codes`, as the plain
/// E-step computes them, and reach >= sqrt(|v|^2 + 2 score): no codeword further away from v may win.
/// Rounding of both plain scores, of the one to beat and of another that beats it, is below
/// 20 * 2^-24 (h_c + |v| |c|) <= 6 * 20 * 2^-24 (|v|^2 + |score|) each, as h_c <= score + |v| |c|.
template <int D>
HWY_INLINE void score_known(const float* tile, const float* norms2, const CodewordTable& table,
                            const std::int32_t* codes, float* errors, float* scores, float* reach) {
  HWY_ALIGN float columns[(D + 4) / 4 * 4 * tile_points];
  gather_rows<D>(table, codes, columns);
  for (int i = 0; i < static_cast<int>(tile_points); i += lanes) {
    Vector score = hn::Load(Floats(), columns + i), error = hn::Zero(Floats());
#pragma GCC unroll 18
    for (int j = 0; j < D; ++j) {
      const Vector v = hn::Load(Floats(), tile + j * tile_points + i);
      const Vector c = hn::Load(Floats(), columns + (j + 1) * tile_points + i);
      const Vector difference = hn::Sub(v, c);
      score = fused_subtract(v, c, score);
      error = fused_add(difference, difference, error);
    }
    hn::StoreU(error, Floats(), errors + i);
    hn::Store(score, Floats(), scores + i);
    const Vector norm2 = hn::Load(Floats(), norms2 + i);
    const Vector slack = fused_add(hn::Set(Floats(), score_slack), hn::Add(norm2, hn::Abs(score)),
                                   hn::Set(Floats(), tiny_slack));
    const Vector square = hn::Add(fused_add(score, hn::Set(Floats(), 2.0f), norm2), slack);
    hn::Store(hn::Sqrt(hn::Max(square, hn::Zero(Floats()))), Floats(), reach + i);
  }
}

/// Bit i is set when word i of a tile is not zero.
HWY_INLINE unsigned nonzero_words(const std::uint16_t* words) {
  using Tag = hn::CappedTag<std::uint16_t, 16>;
  unsigned bits = 0;
  for (int i = 0; i < static_cast<int>(tile_points); i += static_cast<int>(hn::MaxLanes(Tag()))) {
    std::uint8_t bytes[8] = {};
    hn::StoreMaskBits(Tag(), hn::Ne(hn::Load(Tag(), words + i), hn::Zero(Tag())), bytes);
    bits |= (bytes[0] | static_cast<unsigned>(bytes[1]) << 8) << i;
  }
  return bits;
}

/// A codeword and its score.
struct Best {
  float score;
  std::int32_t code;
};

/// Vectors of the scores of a group's codewords.
constexpr int group_scores = static_cast<int>(codeword_group) / lanes;

/// The plain scores of one point and the 16 codewords of a group.
template <int D>
HWY_INLINE void score_group(const float* point, const FilterTable& filter, std::int64_t g,
                            Vector (&scores)[group_scores]) {
  const float* columns = filter.columns.data() + g * codeword_group * (D + 1);
#pragma GCC unroll 16
  for (int i = 0; i < group_scores; ++i) scores[i] = hn::Load(Floats(), columns + i * lanes);
#pragma GCC unroll 18
  for (int j = 0; j < D; ++j) {
    const Vector v = hn::Set(Floats(), point[j * tile_points]);
#pragma GCC unroll 16
    for (int i = 0; i < group_scores; ++i)
      scores[i] =
          fused_subtract(v, hn::Load(Floats(), columns + (j + 1) * codeword_group + i * lanes), scores[i]);
  }
}

/// |v - c|^2 as the plain E-step computes it.
template <int D>
HWY_INLINE float squared_error(const float* point, const CodewordTable& table, std::int32_t code) {
  const float* codeword = table.rows.data() + static_cast<std::int64_t>(code) * (D + 1) + 1;
  float error = 0;
#pragma GCC unroll 18
  for (int j = 0; j < D; ++j) {
    const float difference = point[j * tile_points] - codeword[j];
    error = std::fma(difference, difference, error);
  }
  return error;
}

#endif

}  // namespace HWY_NAMESPACE
}  // namespace bitfall
HWY_AFTER_NAMESPACE();

#endif  // toggling guard
