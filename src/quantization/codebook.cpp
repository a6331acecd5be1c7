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
/// The smallest fp16: with finer steps several integers would stand for one value.
constexpr float least_scale = 0x1p-24F;

std::int8_t nearest_integer(float value, float scale) {
  return static_cast<std::int8_t>(std::clamp(std::nearbyint(value / scale), -most_integer, most_integer));
}

/// The largest magnitude is met exactly as fp16 has it, so that rounding twice changes nothing.
float scale_for(std::span<const float> codebook) {
  float largest = 0;
  for (const float value : codebook) largest = std::max(largest, std::abs(value));
  return std::max(half_to_float(float_to_half(largest)) / most_integer, least_scale);
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

std::uint16_t codebook_value(std::int8_t i, float scale) {
  return float_to_half(static_cast<float>(i) * scale);
}

std::vector<std::int8_t> codebook_integers(std::span<const std::uint16_t> codebook, float scale) {
  if (!(scale > 0) || !std::isfinite(scale))
    throw DataError("an int8 codebook has the scale " + std::to_string(scale) +
                    ", which is not positive and finite");
  std::vector<std::int8_t> integers;
  integers.reserve(codebook.size());
  for (const std::uint16_t half : codebook) {
    const std::int8_t i = nearest_integer(half_to_float(half), scale);
    // -0 is no multiple that could be told from 0.
    if (codebook_value(i, scale) != half)
      throw DataError("an int8 codebook has the value " + std::to_string(half_to_float(half)) +
                      ", which is no multiple of its scale " + std::to_string(scale));
    integers.push_back(i);
  }
  return integers;
}

StoredCodebook round_codebook(std::span<float> codebook, std::int64_t d, CodebookType type) {
  StoredCodebook stored{std::vector<std::uint16_t>(codebook.size()), 0};
  if (type == CodebookType::int8) stored.scale = scale_for(codebook);
  for (std::size_t i = 0; i < codebook.size(); ++i) {
    const float value = codebook[i];
    stored.halves[i] = float_to_half(value);
    if (!std::isfinite(half_to_float(stored.halves[i])))
      throw DataError("codeword " + std::to_string(i / static_cast<std::size_t>(d)) + " has the value " +
                      std::to_string(value) +
                      ", which does not fit fp16 (largest 65504); rescale the layer's weights or leave the "
                      "layer out");
    if (type == CodebookType::int8)
      stored.halves[i] = codebook_value(nearest_integer(value, stored.scale), stored.scale);
    codebook[i] = half_to_float(stored.halves[i]);
  }
  return stored;
}

}  // namespace bitfall
