#include "calibration/gram_kernels.hpp"

#include <algorithm>
#include <array>
#include <bit>

// Arrays of vectors are needed below, which scalable vectors (SVE, RVV) do not
// allow; ARM falls back to NEON.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "calibration/gram_kernels.cpp"
#include <hwy/foreach_target.h>
// clang-format off: highway.h must follow foreach_target.h
#include <hwy/highway.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace bitfall::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// One block of pairs: rows first_a .. first_a+A against rows first_b ..
/// first_b+B.
struct Block {
  std::int64_t d, first_a, first_b;
};

template <int A, int B, bool masked>
HWY_ATTR void multiply_block(const float* const* rows, Block block, std::int64_t vectors, const float* mask,
                             float* lanes) {
  // A*B sums of `vectors` products a lane; A+B loads for A*B multiply-adds. On
  // a diagonal block the pairs below the diagonal are left out.
  const hn::CappedTag<float, product_lanes> tag;
  using Vector = hn::Vec<decltype(tag)>;
  const bool diagonal = block.first_a == block.first_b;
  for (std::int64_t sub = 0; sub < product_lanes; sub += static_cast<std::int64_t>(hn::Lanes(tag))) {
    Vector sums[A][B];
    const auto lane = [&](int a, int b) {
      const std::int64_t i = block.first_a + a;
      const std::int64_t j = block.first_b + b;
      return lanes + (i * block.d - i * (i - 1) / 2 + (j - i)) * product_lanes + sub;
    };
    for (int a = 0; a < A; ++a) {
      for (int b = 0; b < B; ++b) {
        sums[a][b] = diagonal && b < a ? hn::Zero(tag) : hn::LoadU(tag, lane(a, b));
      }
    }
    for (std::int64_t v = 0; v < vectors; ++v) {
      const std::int64_t at = v * product_lanes + sub;
      Vector right[B];
      for (int b = 0; b < B; ++b) right[b] = hn::LoadU(tag, rows[block.first_b + b] + at);
      for (int a = 0; a < A; ++a) {
        Vector left = hn::LoadU(tag, rows[block.first_a + a] + at);
        if constexpr (masked) left = hn::And(left, hn::LoadU(tag, mask + at));
        for (int b = 0; b < B; ++b) sums[a][b] = hn::MulAdd(left, right[b], sums[a][b]);
      }
    }
    for (int a = 0; a < A; ++a) {
      for (int b = 0; b < B; ++b) {
        if (!(diagonal && b < a)) hn::StoreU(sums[a][b], tag, lane(a, b));
      }
    }
  }
}

template <int A, bool masked>
void multiply_blocks(int width, const float* const* rows, Block block, std::int64_t vectors,
                     const float* mask, float* lanes) {
  if (width == 1) multiply_block<A, 1, masked>(rows, block, vectors, mask, lanes);
  if (width == 2) multiply_block<A, 2, masked>(rows, block, vectors, mask, lanes);
  if (width == 3) multiply_block<A, 3, masked>(rows, block, vectors, mask, lanes);
  if (width == 4) multiply_block<A, 4, masked>(rows, block, vectors, mask, lanes);
}

template <bool masked>
void multiply_all(const float* const* rows, std::int64_t d, std::int64_t vectors, const float* mask,
                  float* lanes) {
  // Rows in groups of 3 or 4: as many sums as there are registers (16 of AVX2
  // hold 3x3, 4x4 a few too many).
  const std::int64_t group = d % 3 == 0 ? 3 : 4;
  for (std::int64_t a = 0; a < d; a += group) {
    const int height = static_cast<int>(std::min(group, d - a));
    for (std::int64_t b = a; b < d; b += group) {
      const int width = static_cast<int>(std::min(group, d - b));
      const Block block{d, a, b};
      if (height == 1) multiply_blocks<1, masked>(width, rows, block, vectors, mask, lanes);
      if (height == 2) multiply_blocks<2, masked>(width, rows, block, vectors, mask, lanes);
      if (height == 3) multiply_blocks<3, masked>(width, rows, block, vectors, mask, lanes);
      if (height == 4) multiply_blocks<4, masked>(width, rows, block, vectors, mask, lanes);
    }
  }
}

void multiply(const float* const* rows, std::int64_t d, std::int64_t vectors, const float* mask,
              float* lanes) {
  if (mask != nullptr) {
    multiply_all<true>(rows, d, vectors, mask, lanes);
  } else {
    multiply_all<false>(rows, d, vectors, mask, lanes);
  }
}

}  // namespace bitfall::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bitfall {
namespace {

HWY_EXPORT(multiply);

/// Products added in float before the sum moves to double.
constexpr std::int64_t vectors_per_flush = 32;

}  // namespace

float keep_mask() {
  return std::bit_cast<float>(~std::uint32_t{0});
}

ProductSums::ProductSums(std::int64_t d)
    : d_(d),
      lanes_(static_cast<std::size_t>(pair_count(d) * product_lanes)),
      wide_(lanes_.size()),
      tail_(static_cast<std::size_t>(d * product_lanes)),
      tail_mask_(product_lanes),
      shifted_(static_cast<std::size_t>(d)) {}

void ProductSums::add(std::span<const float* const> rows, std::int64_t length, const float* mask) {
  const std::int64_t whole = length / product_lanes;
  for (std::int64_t done = 0; done < whole;) {
    const std::int64_t vectors = std::min(whole - done, vectors_per_flush - pending_);
    const std::int64_t at = done * product_lanes;
    for (std::size_t a = 0; a < rows.size(); ++a) shifted_[a] = rows[a] + at;
    HWY_DYNAMIC_DISPATCH(multiply)
    (shifted_.data(), d_, vectors, mask == nullptr ? nullptr : mask + at, lanes_.data());
    done += vectors;
    pending_ += vectors;
    if (pending_ == vectors_per_flush) flush();
  }
  const std::int64_t left = length - whole * product_lanes;
  if (left == 0) return;
  // The last positions are copied beside zeros, so that no vector reads beyond
  // a row.
  std::fill(tail_.begin(), tail_.end(), 0.0F);
  for (std::size_t a = 0; a < rows.size(); ++a) {
    float* tail = tail_.data() + a * product_lanes;
    std::copy_n(rows[a] + whole * product_lanes, left, tail);
    shifted_[a] = tail;
  }
  if (mask != nullptr) std::copy_n(mask + whole * product_lanes, left, tail_mask_.data());
  HWY_DYNAMIC_DISPATCH(multiply)
  (shifted_.data(), d_, 1, mask == nullptr ? nullptr : tail_mask_.data(), lanes_.data());
  if (++pending_ == vectors_per_flush) flush();
}

void ProductSums::flush() {
  for (std::size_t i = 0; i < lanes_.size(); ++i) wide_[i] += static_cast<double>(lanes_[i]);
  std::fill(lanes_.begin(), lanes_.end(), 0.0F);
  pending_ = 0;
}

void ProductSums::finish(std::span<double> sums) {
  flush();
  for (std::size_t pair = 0; pair < sums.size(); ++pair) {
    double sum = 0;
    for (std::size_t lane = 0; lane < product_lanes; ++lane) sum += wide_[pair * product_lanes + lane];
    sums[pair] += sum;
  }
  std::fill(wide_.begin(), wide_.end(), 0.0);
}

}  // namespace bitfall
#endif  // HWY_ONCE
