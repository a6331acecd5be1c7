#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bitfall/codebook.hpp"
#include "bitfall/errors.hpp"
#include "bitfall/quantized_layer.hpp"

namespace bitfall {
namespace {

constexpr float most_integer = 127;
/// Of the largest value of a codebook. int8 has room for 127, which was measured: 6,000 bytes more for
/// ResNet-18 and no more images right (docs/accuracy.md).
constexpr float integers_used = 63;
/// The smallest fp16: with finer steps several integers would stand for one value.
constexpr float least_step = 0x1p-24F;

float step_of(float scale, int exponent) {
  return std::ldexp(scale, -exponent);
}

std::int8_t nearest_integer(float value, float step) {
  return static_cast<std::int8_t>(std::clamp(std::nearbyint(value / step), -most_integer, most_integer));
}

template <class Value>
std::span<Value> codeword(std::span<Value> codebook, std::int64_t d, std::size_t j) {
  return codebook.subspan(j * static_cast<std::size_t>(d), static_cast<std::size_t>(d));
}

float largest_magnitude(std::span<const float> values) {
  float largest = 0;
  for (const float value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

/// The largest magnitude is met exactly as fp16 has it, so that rounding twice changes nothing.
float scale_for(float largest) {
  return std::max(half_to_float(float_to_half(largest)) / integers_used, least_step);
}

/// As many halvings of the step as leave the codeword within integers_used. Most blocks are near zero and so
/// are the codewords that stand for most of them: with the layer's step alone their squared error was six
/// times as large (docs/method.md).
int exponent_for(std::span<const float> values, float scale) {
  const float most = largest_magnitude(values);
  int exponent = 0;
  while (exponent < most_codebook_exponent && step_of(scale, exponent + 1) >= least_step &&
         most <= integers_used * step_of(scale, exponent + 1))
    ++exponent;
  return exponent;
}

/// The multiples of a codeword with this exponent, if they give its values.
bool has_multiples(std::span<const std::uint16_t> halves, float scale, int exponent,
                   std::span<std::int8_t> multiples) {
  for (std::size_t i = 0; i < halves.size(); ++i) {
    multiples[i] = nearest_integer(half_to_float(halves[i]), step_of(scale, exponent));
    // -0 is no multiple that could be told from 0.
    if (codebook_value(multiples[i], scale, exponent) != halves[i]) return false;
  }
  return true;
}

}  // namespace

std::string_view to_string(CodebookType type) {
  return type == CodebookType::fp16 ? "fp16" : "int8";
}

CodebookType codebook_type_from_string(std::string_view name) {
  for (const CodebookType type : {CodebookType::fp16, CodebookType::int8}) {
    if (name == to_string(type)) return type;
  }
  throw UsageError("unknown type of codebooks '" + std::string(name) + "'; known are fp16, int8");
}

std::uint16_t codebook_value(std::int8_t i, float scale, int exponent) {
  return float_to_half(static_cast<float>(i) * step_of(scale, exponent));
}

CodebookIntegers codebook_integers(std::span<const std::uint16_t> codebook, std::int64_t d, float scale) {
  if (!(scale > 0) || !std::isfinite(scale))
    throw DataError("an int8 codebook has the scale " + std::to_string(scale) +
                    ", which is not positive and finite");
  const std::size_t k = codebook.size() / static_cast<std::size_t>(d);
  CodebookIntegers integers{std::vector<std::int8_t>(k), std::vector<std::int8_t>(codebook.size())};
  for (std::size_t j = 0; j < k; ++j) {
    std::int8_t& exponent = integers.exponents[j];
    while (!has_multiples(codeword(codebook, d, j), scale, exponent,
                          codeword(std::span(integers.multiples), d, j))) {
      if (++exponent > most_codebook_exponent)
        throw DataError("codeword " + std::to_string(j) +
                        " of an int8 codebook is no multiple of a step of its scale " +
                        std::to_string(scale));
    }
  }
  return integers;
}

StoredCodebook round_codebook(std::span<float> codebook, std::int64_t d, CodebookType type) {
  StoredCodebook stored{std::vector<std::uint16_t>(codebook.size()), 0};
  std::transform(codebook.begin(), codebook.end(), stored.halves.begin(), float_to_half);
  for (std::size_t i = 0; i < codebook.size(); ++i) {
    if (!std::isfinite(half_to_float(stored.halves[i])))
      throw DataError("codeword " + std::to_string(i / static_cast<std::size_t>(d)) + " has the value " +
                      std::to_string(codebook[i]) +
                      ", which does not fit fp16 (largest 65504); rescale the layer's weights or leave the "
                      "layer out");
  }
  if (type == CodebookType::int8) {
    stored.scale = scale_for(largest_magnitude(codebook));
    for (std::size_t j = 0; j < codebook.size() / static_cast<std::size_t>(d); ++j) {
      const std::span<const float> values = codeword(codebook, d, j);
      const int exponent = exponent_for(values, stored.scale);
      const auto halves = codeword(std::span(stored.halves), d, j);
      std::transform(values.begin(), values.end(), halves.begin(), [&](float value) {
        return codebook_value(nearest_integer(value, step_of(stored.scale, exponent)), stored.scale,
                              exponent);
      });
    }
  }
  std::transform(stored.halves.begin(), stored.halves.end(), codebook.begin(), half_to_float);
  return stored;
}

}  // namespace bitfall
