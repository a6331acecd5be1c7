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

TEST_CASE("an int8 codebook is off by half a step, and its integers come back") {
  // Down to magnitudes where fp16 itself has few values left, and up to the largest.
  for (const float magnitude : {1e-9F, 3e-8F, 1e-7F, 1e-6F, 1e-4F, 0.02F, 1.0F, 15000.0F}) {
    std::vector<float> codebook = random_codebook(999, magnitude, 2);
    for (float& value : codebook) value = std::clamp(value, -65504.0F, 65504.0F);
    const std::vector<float> before = codebook;
    const StoredCodebook stored = round_codebook(codebook, 9, CodebookType::int8);
    REQUIRE(stored.scale > 0);
    const std::vector<std::int8_t> integers = codebook_integers(stored.halves, stored.scale);
    for (std::size_t i = 0; i < before.size(); ++i) {
      CHECK(codebook_value(integers[i], stored.scale) == stored.halves[i]);
      CHECK(codebook[i] == half_to_float(stored.halves[i]));
      // Half a step, and the rounding of its product to fp16.
      const float allowed = 0.5001F * stored.scale + std::max(std::abs(codebook[i]) / 2047, 0x1p-25F);
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
  CHECK(codebook_integers(stored.halves, stored.scale) == std::vector<std::int8_t>(6));
}

TEST_CASE("values that don't fit are refused") {
  for (const CodebookType type : {CodebookType::fp16, CodebookType::int8})
    for (const float bad : {70000.0F, -70000.0F, std::numeric_limits<float>::infinity(),
                            std::numeric_limits<float>::quiet_NaN()}) {
      std::vector<float> codebook{1, 2, 3, bad};
      CHECK_THROWS_AS(round_codebook(codebook, 2, type), DataError);
    }
  const std::vector<std::uint16_t> halves{float_to_half(1), float_to_half(0.3F)};
  CHECK_THROWS_AS(codebook_integers(halves, 0.5F), DataError);
  CHECK_THROWS_AS(codebook_integers(halves, 0.0F), DataError);
  CHECK_THROWS_AS(codebook_integers(halves, -1.0F), DataError);
  CHECK_THROWS_AS(codebook_integers(halves, std::numeric_limits<float>::infinity()), DataError);
  CHECK_THROWS_AS(codebook_integers(std::vector<std::uint16_t>{float_to_half(128)}, 1.0F), DataError);
  CHECK(codebook_integers(std::vector<std::uint16_t>{float_to_half(-127)}, 1.0F) ==
        std::vector<std::int8_t>{-127});
}

TEST_CASE("types of codebooks have names") {
  CHECK(codebook_type_from_string("int8") == CodebookType::int8);
  CHECK(codebook_type_from_string("fp16") == CodebookType::fp16);
  CHECK(to_string(CodebookType::int8) == "int8");
  CHECK_THROWS_AS(codebook_type_from_string("int4"), UsageError);
}
