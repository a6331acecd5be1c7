/// binary16 <-> binary32. Written out, so that every machine rounds alike whatever instructions it has.
#include <bit>
#include <cstdint>

#include "bitfall/quantized_layer.hpp"

namespace bitfall {

std::uint16_t float_to_half(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7e00u);   // NaN
  if (magnitude >= 0x477ff000u) return static_cast<std::uint16_t>(sign | 0x7c00u);  // >= 65520: infinity
  if (magnitude < 0x33000001u) return sign;                                         // <= 2^-25: zero
  const int exponent = static_cast<int>(magnitude >> 23);  // biased by 127, here 102..142
  std::uint32_t significand = (magnitude & 0x7fffffu) | 0x800000u;
  // A normal half keeps 11 of the 24 significant bits; a subnormal one fewer, one less per binade below
  // 2^-14.
  const int dropped = exponent >= 113 ? 13 : 13 + (113 - exponent);
  const std::uint32_t half_unit = std::uint32_t{1} << (dropped - 1);
  const std::uint32_t odd = (significand >> dropped) & 1u;
  significand = (significand + half_unit - 1u + odd) >> dropped;  // nearest, ties to even
  // The implicit bit of a normal adds one to the exponent field, and a carry out of the rounding one more.
  const std::uint32_t field = exponent >= 113 ? static_cast<std::uint32_t>(exponent - 113) << 10 : 0u;
  return static_cast<std::uint16_t>(sign | (field + significand));
}

float half_to_float(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000u) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1fu;
  const std::uint32_t fraction = bits & 0x3ffu;
  if (exponent == 0) {  // zero or subnormal: fraction * 2^-24, exact
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
  }
  const std::uint32_t wide = exponent == 0x1fu ? 0x7f800000u : (exponent + 112u) << 23;
  return std::bit_cast<float>(sign | wide | (fraction << 13));
}

}  // namespace bitfall
