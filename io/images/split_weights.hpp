#pragma once
/// Weights of 22 bits as two words, so that they can be multiplied in 16 bits, which costs a quarter of 32.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "resize_kernels.hpp"

namespace bitfall {

constexpr std::int32_t resize_half = 1 << (resize_precision_bits - 1);

inline std::uint8_t resized_byte(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::clamp(sum >> resize_precision_bits, 0, 255));
}

/// Two weights high * 2^16 + low, low from -2^15 on. A sum of products of the low parts has the upper word l,
/// one of the high parts is h: then (half + sum) >> 22 is (h + l + 32) >> 6, for half is 32 * 2^16. In words
/// it is exact, for the result fits, whatever overflows on the way to it.
struct WeightPair {
  std::int16_t low[2], high[2];
};

/// (x * factor + 2^14) >> 15, a rounding multiplication of words, is (x + 32) >> 6.
constexpr std::int16_t resize_word_factor = 1 << (15 - (resize_precision_bits - 16));

/// What is missing has weight zero.
inline void split_weights(std::span<const std::int32_t> weights, std::span<WeightPair> pairs) {
  for (std::size_t i = 0; i < 2 * pairs.size(); ++i) {
    const std::int32_t weight = i < weights.size() ? weights[i] : 0;
    pairs[i / 2].low[i % 2] = static_cast<std::int16_t>(weight);
    pairs[i / 2].high[i % 2] = static_cast<std::int16_t>((weight + (1 << 15)) >> 16);
  }
}

}  // namespace bitfall
