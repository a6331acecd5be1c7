#pragma once
/// Inputs for kernels, from harmless to nasty, and the device that runs them.
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace bitfall {

enum class Values { normal, ties, rounded_ties, denormal, huge, zero };
constexpr Values all_values[] = {Values::normal,   Values::ties, Values::rounded_ties,
                                 Values::denormal, Values::huge, Values::zero};

/// ties: few distinct values, so that many codewords are equally near; rounded_ties:
/// the same in tenths, so that the rounding of the score decides; denormal: around the smallest floats,
/// as blocks of which the largest sets the scale have them; huge: products close to overflow.
inline std::vector<float> random_values(std::int64_t count, Values kind, std::mt19937_64& random) {
  std::normal_distribution<float> normal;
  std::uniform_int_distribution<int> few(-2, 2);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) {
    if (kind == Values::normal) value = normal(random);
    if (kind == Values::ties) value = static_cast<float>(few(random));
    if (kind == Values::rounded_ties) value = 0.1f * static_cast<float>(few(random));
    if (kind == Values::denormal) value = std::ldexp(normal(random), few(random) > 0 ? -140 : -70);
    if (kind == Values::huge) value = std::ldexp(normal(random), 58);
    if (kind == Values::zero) value = 0;
  }
  return values;
}

}  // namespace bitfall
