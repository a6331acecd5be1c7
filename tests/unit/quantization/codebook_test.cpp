// codebook.cpp: what codebooks are rounded to.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "bitfall/codebook.hpp"
#include "bitfall/errors.hpp"
#include "bitfall/quantized_layer.hpp"
#include "catch.hpp"

using namespace bitfall;

namespace {

std::vector<float> random_codebook(std::size_t size, float magnitude, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, magnitude);
  std::vector<float> codebook(size);
  for (float& value : codebook) value = normal(random);
  return codebook;
}

}  // namespace

TEST_CASE("an fp16 codebook is rounded value by value") {
  std::vector<float> codebook = random_codebook(100, 1, 1);
  const std::vector<float> before = codebook;
  const StoredCodebook stored = round_codebook(codebook, 4, CodebookType::fp16);
  CHECK(stored.scale == 0);
  for (std::size_t i = 0; i < before.size(); ++i) {
    CHECK(stored.halves[i] == float_to_half(before[i]));
    CHECK(codebook[i] == half_to_float(stored.halves[i]));
  }
}

TEST_CASE("an int8 codebook is off by half a step of each codeword, and its integers come back") {
  // Down to magnitudes where fp16 itself has few values left, and up to the largest.
  for (const float magnitude : {1e-9F, 3e-8F, 1e-7F, 1e-6F, 1e-4F, 0.02F, 1.0F, 15000.0F}) {
    std::vector<float> codebook = random_codebook(999, magnitude, 2);
    for (std::size_t i = 0; i < codebook.size(); ++i)  // codewords of very different size
      codebook[i] = std::clamp(codebook[i] / static_cast<float>(1 << (i / 9 % 5 * 4)), -65504.0F, 65504.0F);
    const std::vector<float> before = codebook;
    const StoredCodebook stored = round_codebook(codebook, 9, CodebookType::int8);
    REQUIRE(stored.scale > 0);
    const CodebookIntegers integers = codebook_integers(stored.halves, 9, stored.scale);
    for (std::size_t i = 0; i < before.size(); ++i) {
      CHECK(codebook_value(integers.multiples[i], stored.scale, integers.exponents[i / 9]) ==
            stored.halves[i]);
      CHECK(codebook[i] == half_to_float(stored.halves[i]));
      // Half a step, which is a 64th of the codeword's largest value at most, and the rounding of its product
      // to fp16; steps end at the smallest fp16 and at a 2^15th of the scale.
      float largest = 0;
      for (std::size_t j = i / 9 * 9; j < i / 9 * 9 + 9; ++j)
        largest = std::max(largest, std::abs(before[j]));
      const float step = std::max({largest / 31.4F, stored.scale * 0x1p-15F, 0x1p-23F});
      const float allowed = 0.5001F * step + std::max(std::abs(codebook[i]) / 2047, 0x1p-25F);
      CHECK(std::abs(codebook[i] - before[i]) <= allowed);
    }
    // What is stored is rounded to itself.
    std::vector<float> again = codebook;
    const bool same = round_codebook(again, 9, CodebookType::int8).halves == stored.halves;
    CHECK(same);
  }
}

TEST_CASE("a codebook of zeros is stored as int8 too") {
  std::vector<float> zeros(6);
  const StoredCodebook stored = round_codebook(zeros, 3, CodebookType::int8);
  CHECK(stored.scale > 0);
  CHECK(codebook_integers(stored.halves, 3, stored.scale).multiples == std::vector<std::int8_t>(6));
}

TEST_CASE("values that don't fit are refused") {
  for (const CodebookType type : {CodebookType::fp16, CodebookType::int8})
    for (const float bad : {70000.0F, -70000.0F, std::numeric_limits<float>::infinity(),
                            std::numeric_limits<float>::quiet_NaN()}) {
      std::vector<float> codebook{1, 2, 3, bad};
      CHECK_THROWS_AS(round_codebook(codebook, 2, type), DataError);
    }
  const std::vector<std::uint16_t> halves{float_to_half(1), float_to_half(0.3F)};
  CHECK_THROWS_AS(codebook_integers(halves, 2, 0.5F), DataError);
  CHECK_THROWS_AS(codebook_integers(halves, 2, 0.0F), DataError);
  CHECK_THROWS_AS(codebook_integers(halves, 2, -1.0F), DataError);
  CHECK_THROWS_AS(codebook_integers(halves, 2, std::numeric_limits<float>::infinity()), DataError);
  CHECK_THROWS_AS(codebook_integers(std::vector<std::uint16_t>{float_to_half(128)}, 1, 1.0F), DataError);
  // Finer by 2^16 than the scale: beyond the last exponent.
  CHECK_THROWS_AS(codebook_integers(std::vector<std::uint16_t>{float_to_half(0x1p-14F)}, 1, 4.0F), DataError);
  const CodebookIntegers one =
      codebook_integers(std::vector<std::uint16_t>{float_to_half(-127), 0, float_to_half(0.25F), 0}, 2, 1.0F);
  CHECK(one.multiples == std::vector<std::int8_t>{-127, 0, 1, 0});
  CHECK(one.exponents == std::vector<std::int8_t>{0, 2});
}

TEST_CASE("types of codebooks have names") {
  CHECK(codebook_type_from_string("int8") == CodebookType::int8);
  CHECK(codebook_type_from_string("fp16") == CodebookType::fp16);
  CHECK(to_string(CodebookType::int8) == "int8");
  CHECK_THROWS_AS(codebook_type_from_string("int4"), UsageError);
}
