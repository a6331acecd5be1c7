// The targets are those of estep.cpp, for the same reasons.
#define HWY_DISABLED_TARGETS (~(HWY_AVX2 | HWY_AVX3 | HWY_NEON | HWY_EMU128 | HWY_SCALAR))
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quantization/box_assign.cpp"
#include "hwy/foreach_target.h"
// foreach_target first
#include "hwy/highway.h"
#include "quantization/box_order.hpp"
#include "quantization/estep_simd-inl.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cfloat>
#include <cmath>
#include <cstring>

#ifndef BITFALL_SET_BITS
#define BITFALL_SET_BITS
namespace bitfall {

/// The positions of the set bits of a byte, ascending, and zeros behind them.
constexpr std::array<std::array<std::uint8_t, 8>, 256> find_set_bits() {
  std::array<std::array<std::uint8_t, 8>, 256> table{};
  for (unsigned byte = 0; byte < 256; ++byte) {
    std::size_t found = 0;
    for (unsigned bit = 0; bit < 8; ++bit)
      if ((byte >> bit & 1) != 0) table[byte][found++] = static_cast<std::uint8_t>(bit);
  }
  return table;
}
inline constexpr auto set_bits = find_set_bits();

}  // namespace bitfall
#endif

HWY_BEFORE_NAMESPACE();
namespace bitfall {
namespace HWY_NAMESPACE {

/// d + 1 rows of `stride` floats: h_c, then the coordinates of `count` codewords; `codes` are their indices,
/// or null where they are 0, 1, 2, ... Behind `count` there is a vector's width of padding.
struct Columns {
  const float* rows;
  std::int64_t stride, count;
  const std::int32_t* codes;
};

struct Box {
  float middle[4], half[4];
  float largest_norm2;
};

inline Box make_box(const float* low, const float* high, int d) {
  Box box{};
  for (int j = 0; j < d; ++j) {
    box.middle[j] = 0.5f * (low[j] + high[j]);
    box.half[j] = std::max(high[j] - box.middle[j], box.middle[j] - low[j]) * 1.000001f;
    const float most = std::fabs(box.middle[j]) + box.half[j];
    box.largest_norm2 += most * most;
  }
  return box;
}

/// scores[c] = score of codeword c at the middle of the box. Returns the place of the smallest.
template <int D>
HWY_INLINE std::int64_t score_middle(const Box& box, const Columns& all, float* scores) {
  Vector best = hn::Set(Floats(), FLT_MAX);
  IndexVector index = hn::Zero(Indices());
  for (std::int64_t c = 0; c < all.count; c += lanes) {
    Vector score = hn::LoadU(Floats(), all.rows + c);
#pragma GCC unroll 4
    for (int j = 0; j < D; ++j)
      score = fused_subtract(hn::Set(Floats(), box.middle[j]),
                             hn::LoadU(Floats(), all.rows + (j + 1) * all.stride + c), score);
    hn::StoreU(score, Floats(), scores + c);
    const auto better = hn::Lt(score, best);
    best = hn::Min(best, score);
    index = hn::IfThenElse(hn::RebindMask(Indices(), better),
                           hn::Set(Indices(), static_cast<std::int32_t>(c)), index);
  }
  HWY_ALIGN float least[lanes];
  HWY_ALIGN std::int32_t first[lanes];
  hn::Store(best, Floats(), least);
  hn::Store(index, Indices(), first);
  int lane = 0;
  for (int i = 1; i < lanes; ++i)
    if (least[i] < least[lane]) lane = i;
  return first[lane] + lane;
}

/// The places in `all` of the codewords that can be nearest to a point of the box, ascending. Writes up to
/// eight places behind the last one. Returns how many there are.
template <int D>
HWY_INLINE std::int64_t prune(const Box& box, const Columns& all, float* scores, std::int32_t* places) {
  const std::int64_t b = score_middle<D>(box, all, scores);
  const Vector reference = hn::Set(Floats(), scores[b]);
  Vector middle[D], half[D];
#pragma GCC unroll 4
  for (int j = 0; j < D; ++j) {
    middle[j] = hn::Set(Floats(), all.rows[(j + 1) * all.stride + b]);
    half[j] = hn::Set(Floats(), box.half[j]);
  }
  // |<v, c>| <= (|v|^2 + |c|^2) / 2, and d + 4 roundings of sums that are no larger; four times for safety.
  constexpr float rounding = 4.0f * (D + 4) * 0x1p-24f;
  const Vector slack = hn::Set(Floats(), rounding * (2 * std::fabs(all.rows[b]) + box.largest_norm2));
  std::int64_t found = 0;
  for (std::int64_t c = 0; c < all.count; c += lanes) {
    // min over the box of s_c - s_b = s_c(middle) - s_b(middle) - sum_j half_j |c_j - b_j|
    Vector least = hn::Sub(hn::LoadU(Floats(), scores + c), reference);
#pragma GCC unroll 4
    for (int j = 0; j < D; ++j) {
      const Vector step = hn::Sub(hn::LoadU(Floats(), all.rows + (j + 1) * all.stride + c), middle[j]);
      least = fused_subtract(half[j], hn::Abs(step), least);
    }
    const Vector own = hn::Abs(hn::LoadU(Floats(), all.rows + c));
    const auto possible = hn::Le(least, fused_add(own, hn::Set(Floats(), 2 * rounding), slack));
    unsigned bits = lane_bits(possible);
    for (std::int64_t at = c; bits != 0; at += 8, bits >>= 8) {
      const auto& positions = set_bits[bits & 0xff];
      for (std::size_t i = 0; i < 8; ++i)
        places[found + static_cast<std::int64_t>(i)] = static_cast<std::int32_t>(at) + positions[i];
      found += std::popcount(bits & 0xff);
    }
  }
  return found;
}

/// Columns of the codewords at `places` of `from`, into d + 1 rows of the same stride.
template <int D>
HWY_INLINE Columns pick_columns(const Columns& from, const std::int32_t* places, std::int64_t count,
                                float* rows, std::int32_t* codes) {
  for (int j = 0; j <= D; ++j) {
    const float* source = from.rows + j * from.stride;
    float* target = rows + j * from.stride;
    for (std::int64_t i = 0; i < count; ++i) target[i] = source[places[i]];
  }
  for (int i = 0; i < lanes; ++i) rows[count + i] = FLT_MAX;  // never possible
  for (std::int64_t i = 0; i < count; ++i)
    codes[i] = from.codes != nullptr ? from.codes[places[i]] : places[i];
  return {rows, from.stride, count, codes};
}

/// The exact scores of a tile of 16 points and their candidates, as the plain E-step.
template <int D>
HWY_INLINE void assign_tile(const float* tile, const CodewordTable& table, const std::int32_t* candidates,
                            std::int64_t count, std::int32_t* codes) {
  constexpr int P = static_cast<int>(tile_points) / lanes, Q = 4;
  const float* rows = table.rows.data();
  Vector score[P];
  IndexVector index[P];
#pragma GCC unroll 16
  for (int p = 0; p < P; ++p) {
    score[p] = hn::Set(Floats(), FLT_MAX);
    index[p] = hn::Zero(Indices());
  }
  for (std::int64_t c = 0; c < count; c += Q) {
    Vector sums[P][Q];
#pragma GCC unroll 4
    for (int q = 0; q < Q; ++q) {
      const float* row = rows + candidates[c + q] * (D + 1);
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) sums[p][q] = hn::Set(Floats(), row[0]);
#pragma GCC unroll 4
      for (int j = 0; j < D; ++j) {
        const Vector value = hn::Set(Floats(), row[1 + j]);
#pragma GCC unroll 16
        for (int p = 0; p < P; ++p)
          sums[p][q] =
              fused_subtract(hn::Load(Floats(), tile + j * tile_points + p * lanes), value, sums[p][q]);
      }
    }
#pragma GCC unroll 4
    for (int q = 0; q < Q; ++q) {
      const IndexVector id = hn::Set(Indices(), candidates[c + q]);
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) {
        const auto better = hn::Lt(sums[p][q], score[p]);
        index[p] = hn::IfThenElse(hn::RebindMask(Indices(), better), id, index[p]);
        score[p] = hn::Min(sums[p][q], score[p]);
      }
    }
  }
#pragma GCC unroll 16
  for (int p = 0; p < P; ++p) hn::StoreU(index[p], Indices(), codes + p * lanes);
}

template <int D>
HWY_INLINE void group_errors(const float* group, const CodewordTable& table, const std::int32_t* codes,
                             float* errors) {
  for (int v = 0; v < group_vectors; ++v) {
    const float* x = vector_start(group, D, v);
    const IndexVector row = hn::Mul(hn::LoadU(Indices(), codes + v * lanes), hn::Set(Indices(), D + 1));
    Vector error = hn::Zero(Floats());
#pragma GCC unroll 4
    for (int j = 0; j < D; ++j) {
      const Vector difference = hn::Sub(hn::Load(Floats(), x + j * tile_points),
                                        hn::GatherIndex(Floats(), table.rows.data() + 1 + j, row));
      error = fused_add(difference, difference, error);
    }
    hn::StoreU(error, Floats(), errors + v * lanes);
  }
}

/// Fills up the last four by the last candidate: an equal score never wins.
HWY_INLINE void fill_up(std::vector<std::int32_t>& candidates, std::int64_t count) {
  for (std::int64_t i = count; i % 4 != 0; ++i)
    candidates[static_cast<std::size_t>(i)] = candidates[static_cast<std::size_t>(count - 1)];
}

/// The box of the tiles [first, last) of one rank's points.
template <int D>
HWY_INLINE Box box_of_tiles(const BoxOrder& boxes, std::int64_t first, std::int64_t last) {
  float low[D], high[D];
  for (int j = 0; j < D; ++j) {
    low[j] = FLT_MAX, high[j] = -FLT_MAX;
    for (std::int64_t tile = first; tile < last; ++tile) {
      low[j] = std::min(low[j], boxes.low[static_cast<std::size_t>(tile * D + j)]);
      high[j] = std::max(high[j], boxes.high[static_cast<std::size_t>(tile * D + j)]);
    }
  }
  return make_box(low, high, D);
}

/// What one call works on.
struct Search {
  const BoxOrder& boxes;
  const CodewordTable& table;
  BoxScratch& scratch;
  std::int64_t first_tile;
  std::int32_t* codes;  ///< of the points from first_tile on
};

/// Codes of the tiles [first, last), whose candidates are among those of `from`.
template <int D>
void narrow(const Search& search, int level, std::int64_t first, std::int64_t last, const Columns& from) {
  constexpr std::int64_t few = 24;  // candidates for which smaller boxes do not pay
  BoxScratch& scratch = search.scratch;
  BoxScratch::Level& own = scratch.level[level];
  const std::int64_t found = prune<D>(box_of_tiles<D>(search.boxes, first, last), from, scratch.scores.data(),
                                      scratch.places.data());
  const bool is_last = level + 1 == BoxScratch::levels || found <= few;
  if (!is_last) {
    const Columns kept =
        pick_columns<D>(from, scratch.places.data(), found, own.rows.data(), own.codes.data());
    const std::int64_t step = std::int64_t{1} << (2 * (BoxScratch::levels - 2 - level));
    for (std::int64_t tile = first; tile < last; tile += step)
      narrow<D>(search, level + 1, tile, std::min(tile + step, last), kept);
    return;
  }
  for (std::int64_t i = 0; i < found; ++i) {
    const std::int32_t place = scratch.places[static_cast<std::size_t>(i)];
    own.codes[static_cast<std::size_t>(i)] = from.codes != nullptr ? from.codes[place] : place;
  }
  fill_up(own.codes, found);
  scratch.offered += found * tile_points * (last - first);
  for (std::int64_t tile = first; tile < last; ++tile)
    assign_tile<D>(search.boxes.points.tiles.data() + tile * tile_points * D, search.table, own.codes.data(),
                   found, search.codes + (tile - search.first_tile) * tile_points);
}

template <int D>
void assign(const BoxOrder& boxes, std::int64_t first, std::int64_t count, const CodewordTable& table,
            BoxScratch& scratch, std::int32_t* codes, float* errors) {
  constexpr std::int64_t tiles = group_points / tile_points;
  const auto stride = static_cast<std::int64_t>(scratch.all.size()) / (D + 1);
  const Columns all{scratch.all.data(), stride, table.k, nullptr};
  const Search search{boxes, table, scratch, first * tiles, codes};
  constexpr std::int64_t chunk = std::int64_t{1} << (2 * (BoxScratch::levels - 1));
  for (std::int64_t tile = first * tiles; tile < (first + count) * tiles; tile += chunk)
    narrow<D>(search, 0, tile, std::min(tile + chunk, (first + count) * tiles), all);
  for (std::int64_t g = 0; g < count; ++g)
    group_errors<D>(boxes.points.group(first + g), table, codes + g * group_points,
                    errors + g * group_points);
}

void assign_four(const BoxOrder& boxes, std::int64_t first, std::int64_t count, const CodewordTable& table,
                 BoxScratch& scratch, std::int32_t* codes, float* errors) {
  assign<box_dimension>(boxes, first, count, table, scratch, codes, errors);
}

}  // namespace HWY_NAMESPACE
}  // namespace bitfall
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "bitfall/errors.hpp"

namespace bitfall {
namespace {

HWY_EXPORT(assign_four);

/// More than the widest vector, so that whole vectors may be read and written at the end.
constexpr std::int64_t margin = 2 * tile_points;

}  // namespace

void prepare_boxes(const CodewordTable& table, BoxScratch& scratch) {
  const std::int64_t stride = table.k + margin;
  scratch.scores.resize(static_cast<std::size_t>(stride));
  scratch.places.resize(static_cast<std::size_t>(stride));
  for (BoxScratch::Level& level : scratch.level) {
    level.rows.resize(static_cast<std::size_t>(stride * (table.d + 1)));
    level.codes.resize(static_cast<std::size_t>(stride));
  }
  scratch.all.assign(static_cast<std::size_t>(stride * (table.d + 1)), 0.0f);
  std::fill_n(scratch.all.begin(), stride, FLT_MAX);
  for (std::int64_t c = 0; c < table.k; ++c)
    for (std::int64_t j = 0; j <= table.d; ++j)
      scratch.all[static_cast<std::size_t>(j * stride + c)] =
          table.rows[static_cast<std::size_t>(c * (table.d + 1) + j)];
}

void assign_boxes(const BoxOrder& boxes, std::int64_t first, std::int64_t count, const CodewordTable& table,
                  BoxScratch& scratch, std::int32_t* codes, float* errors) {
  BITFALL_ASSERT(table.d == box_dimension, "boxes are for four dimensions");
  HWY_DYNAMIC_DISPATCH(assign_four)(boxes, first, count, table, scratch, codes, errors);
}

}  // namespace bitfall
#endif  // HWY_ONCE
