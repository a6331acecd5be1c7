// AVX2; older x86 takes the portable target. NEON on ARM.
#include "resize_kernels.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "split_weights.hpp"

#define HWY_DISABLED_TARGETS (~(HWY_AVX2 | HWY_NEON | HWY_EMU128 | HWY_SCALAR))
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "resize_kernels.cpp"
#include "hwy/foreach_target.h"
// foreach_target first
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace bitfall {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// One pixel, a channel after the other.
inline void resample_pixel(const std::uint8_t* from, const std::int32_t* weights, std::int64_t count,
                           std::uint8_t* out) {
  for (int channel = 0; channel < 3; ++channel) {
    std::int32_t sum = resize_half;
    for (std::int64_t t = 0; t < count; ++t) sum += weights[t] * from[3 * t + channel];
    out[channel] = resized_byte(sum);
  }
}

#if HWY_TARGET == HWY_AVX2

constexpr std::int64_t rows_at_once = 4, pixels_at_once = 4;
using Bytes = hn::Vec<hn::FixedTag<std::uint8_t, 32>>;
using Words = hn::Vec<hn::FixedTag<std::int16_t, 16>>;
using Sums = hn::Vec<hn::FixedTag<std::int32_t, 8>>;

/// The taps of a row of pixels: where each begins, and its weights two by two. 16 bytes of a row have five
/// pixels, of which four are used: that is a step.
class PairedTaps {
 public:
  explicit PairedTaps(const RowTaps& taps)
      : steps_((taps.count + 3) / 4), pairs_(taps.count <= 2 ? 1 : 2 * steps_) {
    const std::size_t width = taps.first.size();
    begins_.reserve(width);
    weights_.resize(width * static_cast<std::size_t>(pairs_));
    for (std::size_t x = 0; x < width; ++x) {
      begins_.push_back(3 * taps.first[x]);
      split_weights(
          {taps.weights + static_cast<std::int64_t>(x) * taps.most, static_cast<std::size_t>(taps.count)},
          {weights_.data() + x * static_cast<std::size_t>(pairs_), static_cast<std::size_t>(pairs_)});
    }
  }

  [[nodiscard]] std::int64_t steps() const { return steps_; }
  [[nodiscard]] std::int64_t pairs() const { return pairs_; }
  [[nodiscard]] const std::int64_t* begins() const { return begins_.data(); }
  [[nodiscard]] const WeightPair* weights() const { return weights_.data(); }
  /// How many of the first pixels can be made of a row of which `bytes` may be read; a multiple of four.
  [[nodiscard]] std::int64_t inside(std::int64_t bytes) const {
    auto count = static_cast<std::int64_t>(begins_.size());
    count -= count % pixels_at_once;
    while (count > 0 && begins_[static_cast<std::size_t>(count - 1)] + 12 * steps_ + 4 > bytes)
      count -= pixels_at_once;
    return count;
  }

 private:
  std::int64_t steps_, pairs_;
  std::vector<std::int64_t> begins_;
  std::vector<WeightPair> weights_;
};

HWY_INLINE Words same_pair(const std::int16_t (&pair)[2]) {
  std::int32_t both = 0;
  std::memcpy(&both, pair, sizeof both);
  return hn::BitCast(hn::FixedTag<std::int16_t, 16>(), hn::Set(hn::FixedTag<std::int32_t, 8>(), both));
}

HWY_INLINE Sums multiply(Bytes pixels, Words weights) {
  return Sums{_mm256_madd_epi16(pixels.raw, weights.raw)};
}

/// Sums of one pixel in four rows, two in a vector: red, green, blue and nothing in each half.
struct PixelSums {
  Sums low[2], high[2];
};

/// `pairs` are 1 or 2, or 0 for any number of steps, each of two pairs.
template <int pairs>
HWY_INLINE PixelSums sum_pixel(const std::uint8_t* const (&in)[rows_at_once], std::int64_t begin,
                               const WeightPair* weights, std::int64_t steps) {
  const hn::FixedTag<std::uint8_t, 32> bytes;
  const hn::FixedTag<std::uint8_t, 16> half;
  constexpr std::uint8_t none = 0x80;
  alignas(16) static constexpr std::uint8_t orders[2][16] = {
      {0, none, 3, none, 1, none, 4, none, 2, none, 5, none, none, none, none, none},
      {6, none, 9, none, 7, none, 10, none, 8, none, 11, none, none, none, none, none}};
  const hn::FixedTag<std::int32_t, 8> wide;
  PixelSums sums;
  const auto add = [&](Bytes pixels, const WeightPair& pair, int rows, int order, bool is_first) {
    const Bytes words = hn::TableLookupBytesOr0(pixels, hn::LoadDup128(bytes, orders[order]));
    const Sums low = multiply(words, same_pair(pair.low)), high = multiply(words, same_pair(pair.high));
    sums.low[rows] = is_first ? low : hn::Add(sums.low[rows], low);
    sums.high[rows] = is_first ? high : hn::Add(sums.high[rows], high);
  };
  if (pairs == 0) sums = {{hn::Zero(wide), hn::Zero(wide)}, {hn::Zero(wide), hn::Zero(wide)}};
  for (std::int64_t step = 0; step < (pairs == 0 ? steps : 1); ++step, begin += 12, weights += 2) {
    for (int rows = 0; rows < 2; ++rows) {
      const Bytes pixels = hn::Combine(bytes, hn::LoadU(half, in[2 * rows + 1] + begin),
                                       hn::LoadU(half, in[2 * rows] + begin));
      add(pixels, weights[0], rows, 0, pairs != 0);
      if (pairs != 1) add(pixels, weights[1], rows, 1, false);
    }
  }
  return sums;
}

/// The bytes of two pixels in two rows, as words that alternate.
HWY_INLINE Words finish(const PixelSums& left, const PixelSums& right, int rows) {
  const hn::FixedTag<std::int16_t, 16> words;
  const hn::FixedTag<std::uint32_t, 8> bits;
  const Words low = hn::OddEven(hn::BitCast(words, right.low[rows]),
                                hn::BitCast(words, hn::ShiftRight<16>(hn::BitCast(bits, left.low[rows]))));
  const Words high = hn::OddEven(hn::BitCast(words, hn::ShiftLeft<16>(right.high[rows])),
                                 hn::BitCast(words, left.high[rows]));
  return hn::MulFixedPoint15(hn::Add(low, high), hn::Set(words, resize_word_factor));
}

/// The first `inside` of `width` pixels.
template <int pairs>
HWY_NOINLINE void four_rows(const PairedTaps& taps, std::int64_t inside, std::int64_t width,
                            const std::uint8_t* const (&in)[rows_at_once],
                            std::uint8_t* const (&out)[rows_at_once]) {
  const hn::FixedTag<std::uint8_t, 32> bytes;
  const hn::FixedTag<std::uint8_t, 16> half;
  constexpr std::uint8_t none = 0x80;
  alignas(16) static constexpr std::uint8_t order[16] = {0,  2, 4,  1,  3,    5,    8,    10,
                                                         12, 9, 11, 13, none, none, none, none};
  const std::int64_t* begins = taps.begins();
  const WeightPair* weights = taps.weights();
  const std::int64_t steps = taps.steps(), pairs_each = pairs == 0 ? taps.pairs() : pairs;
  for (std::int64_t x = 0; x < inside; x += pixels_at_once) {
    const auto two = [&](std::int64_t at, Words(&words)[2]) {
      const PixelSums left = sum_pixel<pairs>(in, begins[at], weights + at * pairs_each, steps);
      const PixelSums right = sum_pixel<pairs>(in, begins[at + 1], weights + (at + 1) * pairs_each, steps);
      words[0] = finish(left, right, 0);
      words[1] = finish(left, right, 1);
    };
    Words first[2], second[2];
    two(x, first);
    two(x + 2, second);
    for (int rows = 0; rows < 2; ++rows) {
      const Bytes packed{_mm256_packus_epi16(first[rows].raw, second[rows].raw)};
      const Bytes pixels = hn::TableLookupBytesOr0(packed, hn::LoadDup128(bytes, order));
      const auto upper = hn::LowerHalf(half, pixels), lower = hn::UpperHalf(half, pixels);
      if (x + 6 <= width) {  // four bytes too many, which the next pixels overwrite
        hn::StoreU(upper, half, out[2 * rows] + 3 * x);
        hn::StoreU(lower, half, out[2 * rows + 1] + 3 * x);
      } else {
        alignas(32) std::uint8_t last[32];
        hn::Store(pixels, bytes, last);
        std::memcpy(out[2 * rows] + 3 * x, last, 12);
        std::memcpy(out[2 * rows + 1] + 3 * x, last + 16, 12);
      }
    }
  }
}

#endif

/// Pixels from `x` on of a row, of which `bytes` may be read.
void rest_of_row(const RowTaps& taps, std::int64_t x, const std::uint8_t* in, std::int64_t bytes,
                 std::uint8_t* out) {
  const auto width = static_cast<std::int64_t>(taps.first.size());
  for (; x < width; ++x) {
    const std::int64_t first = taps.first[static_cast<std::size_t>(x)];
    const std::int64_t there = std::min(taps.count, bytes / 3 - first);  // beyond it weights are zero
    resample_pixel(in + 3 * first, taps.weights + x * taps.most, there, out + 3 * x);
  }
}

void rows(const RowTaps& taps, const std::uint8_t* in, const std::uint8_t* end, std::int64_t stride,
          std::int64_t count, std::uint8_t* out) {
  const auto width = static_cast<std::int64_t>(taps.first.size());
#if HWY_TARGET == HWY_AVX2
  const PairedTaps paired(taps);
  const auto go = paired.pairs() == 1 ? four_rows<1> : paired.pairs() == 2 ? four_rows<2> : four_rows<0>;
  for (std::int64_t y = 0; y < count; y += rows_at_once) {
    const std::uint8_t* from[rows_at_once];
    std::uint8_t* to[rows_at_once];
    for (std::int64_t i = 0; i < rows_at_once; ++i) {  // the last row more than once where four are not left
      const std::int64_t at = std::min(y + i, count - 1);
      from[i] = in + at * stride;
      to[i] = out + at * 3 * width;
    }
    const std::int64_t inside = paired.inside(end - from[rows_at_once - 1]);
    go(paired, inside, width, from, to);
    for (std::int64_t i = 0; i < rows_at_once; ++i) rest_of_row(taps, inside, from[i], end - from[i], to[i]);
  }
#else
  for (std::int64_t y = 0; y < count; ++y, in += stride, out += 3 * width)
    rest_of_row(taps, 0, in, end - in, out);
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace bitfall
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bitfall {
namespace {

HWY_EXPORT(rows);

}  // namespace

void resample_rows(const RowTaps& taps, std::span<const std::uint8_t> in, std::int64_t stride,
                   std::int64_t count, std::uint8_t* out) {
  HWY_DYNAMIC_DISPATCH(rows)(taps, in.data(), in.data() + in.size(), stride, count, out);
}

}  // namespace bitfall
#endif  // HWY_ONCE
