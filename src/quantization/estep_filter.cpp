// The targets are those of estep.cpp, for the same reasons.
#define HWY_DISABLED_TARGETS (~(HWY_AVX2 | HWY_AVX3 | HWY_NEON | HWY_EMU128 | HWY_SCALAR))
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quantization/estep_filter.cpp"
#include "hwy/foreach_target.h"
// foreach_target first
#include "hwy/highway.h"
#include "quantization/estep_filter.hpp"
#include "quantization/estep_known-inl.hpp"
#include "quantization/estep_simd-inl.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

HWY_BEFORE_NAMESPACE();
namespace bitfall {
namespace HWY_NAMESPACE {

/// The integers next to one vector of values; adds what they leave to the three sums.
HWY_INLINE IndexVector round_vector(const float* values, Vector scale, Vector& norm2, Vector& distance2,
                                    IndexVector& sum) {
  const Vector scaled = hn::Mul(hn::Load(Floats(), values), scale), nearest = hn::Round(scaled);
  norm2 = hn::Add(norm2, hn::Mul(nearest, nearest));
  const Vector error = hn::Sub(nearest, scaled);
  distance2 = hn::Add(distance2, hn::Mul(error, error));
  const IndexVector integers = hn::ConvertTo(Indices(), nearest);
  sum = hn::Add(sum, integers);
  return integers;
}

void round_all(const float* tile, std::int64_t d, float scale, std::uint16_t* words, RoundedTile& found) {
  const hn::Rebind<std::uint16_t, Indices> narrow;
  const Vector factor = hn::Set(Floats(), scale);
  for (std::int64_t i = 0; i < tile_points; i += lanes) {
    Vector norm2 = hn::Zero(Floats()), distance2 = norm2;
    IndexVector sum = hn::Zero(Indices());
    for (std::int64_t j = 0; j < d; j += 2) {
      IndexVector pair = hn::Add(hn::Set(Indices(), 0x8080),
                                 round_vector(tile + j * tile_points + i, factor, norm2, distance2, sum));
      if (j + 1 < d)
        pair = hn::Add(pair, hn::ShiftLeft<8>(round_vector(tile + (j + 1) * tile_points + i, factor, norm2,
                                                           distance2, sum)));
      hn::Store(hn::DemoteTo(narrow, pair), narrow, words + j / 2 * tile_points + i);
    }
    hn::Store(norm2, Floats(), found.norms2 + i);
    hn::Store(distance2, Floats(), found.distances2 + i);
    hn::Store(sum, Indices(), found.sums + i);
  }
}

#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128

/// Without vectors of bytes there is nothing to gain.
void filter_any(const OrderedPoints& ordered, std::int64_t first, std::int64_t count,
                const CodewordTable& table, const FilterTable& /*filter*/, FilterScratch& /*scratch*/,
                std::int32_t* codes, float* errors) {
  assign_groups(ordered.points.group(first), count, table, codes, errors);
}

#else

/// Sixteen points' 16-bit integers, or half of them.
using Words = hn::CappedTag<std::int16_t, 16>;
using WordVector = hn::Vec<Words>;
using Bits = hn::RebindToUnsigned<Words>;
using Doublewords = hn::Repartition<std::int32_t, Words>;
using Singles = hn::Repartition<float, Words>;
constexpr int word_lanes = static_cast<int>(hn::MaxLanes(Words()));
constexpr int group_tiles = static_cast<int>(group_points / tile_points);
constexpr int mask_bits = 16;  ///< groups of codewords in a word of FilterScratch::open

/// Vectors of points that are worked on at once. 16 registers hold the bytes of two for up to nine
/// coordinates; more of them are read again for each codeword.
template <int D>
constexpr int points_at_once = HWY_TARGET == HWY_AVX2&& D > 9 ? 1 : 2;

/// sum - a.low * b.low - a.high * b.high modulo 2^16, a's bytes being unsigned and b's signed. The two
/// products together fit 16 bits.
HWY_INLINE WordVector subtract_byte_products(WordVector sum, WordVector a, WordVector b) {
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  sum = hn::Sub(sum, WordVector{_mm256_maddubs_epi16(a.raw, b.raw)});
#if HWY_COMPILER_GCC_ACTUAL
  // GCC would do all products first and spill them.
  asm volatile("" : "+x"(sum.raw));  // NOLINT(hicpp-no-assembler)
#endif
  return sum;
#else
  const WordVector low = hn::Mul(hn::And(a, hn::Set(Words(), 0xff)), hn::ShiftRight<8>(hn::ShiftLeft<8>(b)));
  const WordVector high =
      hn::Mul(hn::BitCast(Words(), hn::ShiftRight<8>(hn::BitCast(Bits(), a))), hn::ShiftRight<8>(b));
  return hn::Sub(hn::Sub(sum, low), high);
#endif
}

/// Where the first words of vector `v` of a group of points lie.
template <int W>
HWY_INLINE int word_place(int v) {
  constexpr int per_tile = static_cast<int>(tile_points) / word_lanes;
  return v / per_tile * W * static_cast<int>(tile_points) + v % per_tile * word_lanes;
}

HWY_INLINE WordVector twice(std::int32_t words) {
  return hn::BitCast(Words(), hn::Set(Doublewords(), words));
}

/// What a group of points is searched with.
struct Search {
  const CodewordTable& table;
  const FilterTable& filter;
  const FilterPoints::Group& image;
  const std::uint16_t* words;
  const float* points;
  float* scores;  ///< to beat
  FilterScratch& scratch;
};

/// Norms of codewords that may win for any of some points.
struct Reach {
  float shortest = 3e38f, longest = 0;
  HWY_INLINE void add(const Reach& other) {
    shortest = std::min(shortest, other.shortest);
    longest = std::max(longest, other.longest);
  }
};

/// ||a| - |v|| <= |v - a| <= reach for one tile.
HWY_INLINE Reach reach_of_tile(const float* norms2, const float* reach) {
  Vector nearest = hn::Set(Floats(), 3e38f), farthest = hn::Zero(Floats());
  for (int i = 0; i < static_cast<int>(tile_points); i += lanes) {
    const Vector norm = hn::Sqrt(hn::Load(Floats(), norms2 + i)), distance = hn::Load(Floats(), reach + i);
    nearest = hn::Min(nearest, hn::Sub(norm, distance));
    farthest = hn::Max(farthest, hn::Add(norm, distance));
  }
  const float longest = hn::GetLane(hn::MaxOfLanes(Floats(), farthest)) * (1 + 0x1p-20f);
  return {hn::GetLane(hn::MinOfLanes(Floats(), nearest)) - longest * 0x1p-20f, longest};
}

struct GroupRange {
  std::int64_t first, last;
};

/// The groups with codewords within reach.
HWY_INLINE GroupRange groups_within(const FilterTable& filter, const Reach& reach) {
  const auto first = std::lower_bound(filter.longest.begin(), filter.longest.end(), reach.shortest);
  const auto last = std::upper_bound(filter.shortest.begin(), filter.shortest.end(), reach.longest);
  const GroupRange range{first - filter.longest.begin(), last - filter.shortest.begin()};
  return {std::min(range.first, range.last), range.last};
}

/// floor(min(u h_c, largest_offset)) - 1, and what the bytes' 128 adds to the product.
HWY_INLINE void set_offsets(const Search& search, GroupRange range) {
  for (std::int64_t g = range.first; g < range.last; ++g) {
    const auto scale =
        hn::Set(Singles(), search.image.scale * search.filter.scales[static_cast<std::size_t>(g)]);
    for (std::int64_t i = g * codeword_group; i < (g + 1) * codeword_group; i += word_lanes / 2) {
      const auto half_norm = hn::Load(Singles(), search.filter.half_norms.data() + i);
      const auto scaled = hn::Min(hn::Mul(half_norm, scale), hn::Set(Singles(), FilterTable::largest_offset));
      const auto shift =
          hn::Sub(hn::Load(Doublewords(), search.filter.shifts.data() + i), hn::Set(Doublewords(), 1));
      const auto word =
          hn::And(hn::Add(hn::ConvertTo(Doublewords(), scaled), shift), hn::Set(Doublewords(), 0xffff));
      hn::Store(hn::Or(word, hn::ShiftLeft<16>(word)), Doublewords(), search.scratch.offsets.data() + i);
    }
  }
}

/// limit >= u score + E for one vector of points: no A_c of a codeword that wins lies above.
HWY_INLINE WordVector limits(const float* scores, float u, float error) {
  const auto limit = [&](auto score) {
    return hn::Min(hn::MulAdd(score, hn::Set(Singles(), u), hn::Set(Singles(), error)),
                   hn::Set(Singles(), 32767.0f));
  };
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  // Packing takes four numbers of its first operand, then four of the second, and so on. What is below all
  // integers becomes the lowest one.
  const hn::Half<Singles> four;
  const auto numbers = [&](const float* from) {
    const auto both = hn::Combine(Singles(), hn::Load(four, from + 8), hn::Load(four, from));
    return _mm256_cvtps_epi32(limit(both).raw);
  };
  return WordVector{_mm256_packs_epi32(numbers(scores), numbers(scores + 4))};
#else
  const hn::Half<Words> half;
  const auto numbers = [&](const float* from) {
    return hn::DemoteTo(half, hn::NearestInt(limit(hn::Load(Singles(), from))));
  };
  return hn::Combine(Words(), numbers(scores + word_lanes / 2), numbers(scores));
#endif
}

/// closed[g] = how many codewords of group g can't win, for each point of P vectors; both arrays have P
/// vectors a group. A function of its own: inlined, its operands compete with the caller's for 16 registers.
template <int W, int P>
HWY_NOINLINE void count_closed(const std::uint16_t* points, const std::int32_t* words,
                               const std::int32_t* offsets, std::int64_t groups, const std::int16_t* limit,
                               std::int16_t* closed) {
  WordVector x[W][P];
#pragma GCC unroll 2
  for (int p = 0; p < P; ++p)
#pragma GCC unroll 9
    for (int w = 0; w < W; ++w)
      x[w][p] = hn::BitCast(Words(), hn::Load(Bits(), points + word_place<W>(p) + w * tile_points));
  for (std::int64_t g = 0; g < groups; ++g) {
    WordVector count[P];
#pragma GCC unroll 2
    for (int p = 0; p < P; ++p) count[p] = hn::Zero(Words());
#pragma GCC unroll 1
    for (int c = 0; c < static_cast<int>(codeword_group); ++c) {
      const WordVector offset = twice(offsets[c]);
      WordVector bound[P];
#pragma GCC unroll 2
      for (int p = 0; p < P; ++p) bound[p] = offset;
#pragma GCC unroll 9
      for (int w = 0; w < W; ++w) {
        const WordVector pair = twice(words[w * codeword_group + c]);
#pragma GCC unroll 2
        for (int p = 0; p < P; ++p) bound[p] = subtract_byte_products(bound[p], x[w][p], pair);
      }
      // A set mask is -1.
#pragma GCC unroll 2
      for (int p = 0; p < P; ++p)
        count[p] = hn::Sub(
            count[p], hn::VecFromMask(Words(), hn::Gt(bound[p], hn::Load(Words(), limit + p * word_lanes))));
    }
#pragma GCC unroll 2
    for (int p = 0; p < P; ++p) hn::Store(count[p], Words(), closed + p * word_lanes);
    words += codeword_group * W;
    offsets += codeword_group;
    limit += P * word_lanes;
    closed += P * word_lanes;
  }
}

/// scratch.open for P vectors of points from `first_vector` on. A point's own codeword doesn't count.
template <int D, int P>
HWY_INLINE void find_open(const Search& search, GroupRange range, int first_vector,
                          const std::int16_t* own_groups) {
  constexpr int W = (D + 1) / 2, batch = P * word_lanes;
  std::int16_t* limit = search.scratch.limits.data();
  std::int16_t* closed = search.scratch.closed.data();
  const float* scores = search.scores + first_vector * word_lanes;
  for (std::int64_t g = range.first; g < range.last; ++g) {
    const auto i = static_cast<std::size_t>(g);
    const float u = search.image.scale * search.filter.scales[i];
    const float error =
        search.image.distance * search.filter.norms[i] + search.image.norm * search.filter.distances[i] + 2;
#pragma GCC unroll 2
    for (int p = 0; p < P; ++p)
      hn::Store(limits(scores + p * word_lanes, u, error), Words(),
                limit + (g - range.first) * batch + p * word_lanes);
  }
  count_closed<W, P>(search.words + word_place<W>(first_vector),
                     search.filter.words.data() + range.first * codeword_group * W,
                     search.scratch.offsets.data() + range.first * codeword_group, range.last - range.first,
                     limit, closed);
  for (int i = 0; i < batch; ++i)
    ++closed[(own_groups[first_vector * word_lanes + i] - range.first) * batch + i];
  const WordVector all = hn::Set(Words(), static_cast<std::int16_t>(codeword_group));
  std::uint16_t* open = search.scratch.open.data();
  for (std::int64_t g = range.first; g < range.last; g += mask_bits) {
    const std::int64_t last = std::min(g + mask_bits, range.last);
    WordVector words[P];
#pragma GCC unroll 2
    for (int p = 0; p < P; ++p) words[p] = hn::Zero(Words());
    WordVector mark = hn::Set(Words(), 1);
    for (std::int64_t h = g; h < last; ++h, closed += batch, mark = hn::Add(mark, mark)) {
#pragma GCC unroll 2
      for (int p = 0; p < P; ++p)
        words[p] = hn::Or(
            words[p],
            hn::And(hn::VecFromMask(Words(), hn::Lt(hn::Load(Words(), closed + p * word_lanes), all)), mark));
    }
#pragma GCC unroll 2
    for (int p = 0; p < P; ++p) hn::Store(hn::BitCast(Bits(), words[p]), Bits(), open + p * word_lanes);
    open += batch;
  }
}

/// The plain scores of one point and the 16 codewords of a group; ties to the lowest index.
template <int D>
HWY_INLINE void search_group(const float* point, const FilterTable& filter, std::int64_t g, Best& best) {
  constexpr int N = group_scores;
  Vector scores[N];
  score_group<D>(point, filter, g, scores);
  const Vector to_beat = hn::Set(Floats(), best.score);
  auto any = hn::Le(scores[0], to_beat);
#pragma GCC unroll 16
  for (int i = 1; i < N; ++i) any = hn::Or(any, hn::Le(scores[i], to_beat));
  if (hn::AllFalse(Floats(), any)) return;
  unsigned candidates = 0;
#pragma GCC unroll 16
  for (int i = 0; i < N; ++i) candidates |= lane_bits(hn::Le(scores[i], to_beat)) << (i * lanes);
  // The own codeword has the score to beat.
  const std::int64_t own = filter.places[static_cast<std::size_t>(best.code)] - g * codeword_group;
  if (own >= 0 && own < codeword_group) candidates &= ~(1u << own);
  if (candidates == 0) return;
  HWY_ALIGN float values[codeword_group];
#pragma GCC unroll 16
  for (int i = 0; i < N; ++i) hn::Store(scores[i], Floats(), values + i * lanes);
  for (; candidates != 0; candidates &= candidates - 1) {
    const int i = std::countr_zero(candidates);
    const std::int64_t place = g * codeword_group + i;
    if (place >= static_cast<std::int64_t>(filter.order.size())) break;  // padding
    const std::int32_t code = filter.order[static_cast<std::size_t>(place)];
    if (values[i] < best.score || (values[i] == best.score && code < best.code)) best = {values[i], code};
  }
}

/// Scores what find_open left open of P vectors of points from `first` on.
template <int D, int P>
HWY_INLINE void search_open(const Search& search, GroupRange range, int first, std::int32_t* codes,
                            float* errors) {
  constexpr int batch = P * word_lanes;
  const std::uint16_t* open = search.scratch.open.data();
  for (std::int64_t g = range.first; g < range.last; g += mask_bits, open += batch) {
    std::uint64_t points = 0;
    for (int i = 0; i < batch; i += static_cast<int>(tile_points))
      points |= static_cast<std::uint64_t>(nonzero_words(open + i)) << i;
    for (; points != 0; points &= points - 1) {
      const int i = std::countr_zero(points), p = first + i;
      const float* point = search.points + p / tile_points * D * tile_points + p % tile_points;
      Best best{search.scores[p], codes[p]};
      for (unsigned bits = open[i]; bits != 0; bits &= bits - 1) {
        search_group<D>(point, search.filter, g + std::countr_zero(bits), best);
        ++search.scratch.opened;
      }
      if (best.code == codes[p]) continue;
      codes[p] = best.code;
      search.scores[p] = best.score;
      errors[p] = squared_error<D>(point, search.table, best.code);
    }
  }
}

template <int D>
void filter_group(const float* points, const float* norms2, const std::uint16_t* words,
                  const FilterPoints::Group& image, const CodewordTable& table, const FilterTable& filter,
                  FilterScratch& scratch, std::int32_t* codes, float* errors) {
  HWY_ALIGN float scores[group_points], distances[group_points];
  Reach reach[group_tiles], all;
  for (int t = 0; t < group_tiles; ++t) {
    const std::int64_t at = t * tile_points;
    score_known<D>(points + at * D, norms2 + at, table, codes + at, errors + at, scores + at, distances + at);
    reach[t] = reach_of_tile(norms2 + at, distances + at);
    all.add(reach[t]);
  }
  std::int16_t own_groups[group_points];
  for (int p = 0; p < static_cast<int>(group_points); ++p)
    own_groups[p] =
        static_cast<std::int16_t>(filter.places[static_cast<std::size_t>(codes[p])] / codeword_group);
  const Search search{table, filter, image, words, points, scores, scratch};
  set_offsets(search, groups_within(filter, all));
  constexpr int P = points_at_once<D>, at_once = P * word_lanes;
  for (int p = 0; p < static_cast<int>(group_points); p += at_once) {
    Reach some;
    for (int i = 0; i < at_once; i += static_cast<int>(tile_points)) some.add(reach[(p + i) / tile_points]);
    const GroupRange range = groups_within(filter, some);
    find_open<D, P>(search, range, p / word_lanes, own_groups);
    search_open<D, P>(search, range, p, codes, errors);
  }
}

template <int D>
void filter_groups(const OrderedPoints& ordered, std::int64_t first, std::int64_t count,
                   const CodewordTable& table, const FilterTable& filter, FilterScratch& scratch,
                   std::int32_t* codes, float* errors) {
  for (std::int64_t g = 0; g < count; ++g)
    filter_group<D>(ordered.points.group(first + g), ordered.image.norms2.data() + (first + g) * group_points,
                    ordered.image.words_of(first + g),
                    ordered.image.groups[static_cast<std::size_t>(first + g)], table, filter, scratch,
                    codes + g * group_points, errors + g * group_points);
}

void filter_any(const OrderedPoints& ordered, std::int64_t first, std::int64_t count,
                const CodewordTable& table, const FilterTable& filter, FilterScratch& scratch,
                std::int32_t* codes, float* errors) {
  switch (table.d) {
    case 4:
      return filter_groups<4>(ordered, first, count, table, filter, scratch, codes, errors);
    case 8:
      return filter_groups<8>(ordered, first, count, table, filter, scratch, codes, errors);
    case 9:
      return filter_groups<9>(ordered, first, count, table, filter, scratch, codes, errors);
    case 16:
      return filter_groups<16>(ordered, first, count, table, filter, scratch, codes, errors);
    default:
      return filter_groups<18>(ordered, first, count, table, filter, scratch, codes, errors);
  }
}

#endif

}  // namespace HWY_NAMESPACE
}  // namespace bitfall
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "bitfall/errors.hpp"

namespace bitfall {
namespace {

HWY_EXPORT(filter_any);
HWY_EXPORT(round_all);

}  // namespace

RoundedTile round_tile(const float* tile, std::int64_t d, float scale, std::uint16_t* words) {
  RoundedTile found;
  HWY_DYNAMIC_DISPATCH(round_all)(tile, d, scale, words, found);
  return found;
}

bool FilterTable::has_kernel(std::int64_t d) {
  return d == 4 || d == 8 || d == 9 || d == 16 || d == 18;
}

bool FilterTable::pays(std::int64_t k, std::int64_t d) {
  return k >= 96 && has_kernel(d);
}

void assign_groups_filtered(const OrderedPoints& ordered, std::int64_t first, std::int64_t count,
                            const CodewordTable& table, const FilterTable& filter, FilterScratch& scratch,
                            std::int32_t* codes, float* errors) {
  BITFALL_ASSERT(FilterTable::has_kernel(table.d) && filter.d == table.d && ordered.points.d == table.d,
                 "a filter for this d");
  scratch.offsets.resize(static_cast<std::size_t>(filter.groups() * codeword_group));
  const auto each = static_cast<std::size_t>(filter.groups() * group_points);
  scratch.limits.resize(each);
  scratch.closed.resize(each);
  scratch.open.resize(each);
  HWY_DYNAMIC_DISPATCH(filter_any)(ordered, first, count, table, filter, scratch, codes, errors);
}

std::vector<std::int64_t> filter_targets() {
  return hwy::SupportedAndGeneratedTargets();
}

}  // namespace bitfall
#endif  // HWY_ONCE
