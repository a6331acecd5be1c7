#include <algorithm>
#include <array>
#include <cstdint>
#include <set>
#include <vector>

#include "bitfall/errors.hpp"
#include "bitfall/random.hpp"
#include "catch.hpp"

using namespace bitfall;

// The known-answer vectors that Random123 publishes for philox4x32-10 (kat_vectors): zeros, ones, digits of
// pi.
TEST_CASE("philox gives the published answers") {
  using Words = std::array<std::uint32_t, 4>;
  CHECK(philox({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}) ==
        Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("random_bits uses all of seed, stream and index") {
  CHECK(random_bits(0, 0, 0) == 0xe169c58d6627e8d5U);
  CHECK(random_bits(1, 2, 3) == random_bits(1, 2, 3));
  std::set<std::uint64_t> seen;
  const std::uint64_t high_bit = std::uint64_t{1} << 32;
  for (const std::uint64_t value : {std::uint64_t{1}, high_bit}) {
    seen.insert(random_bits(value, 0, 0));
    seen.insert(random_bits(0, value, 0));
    seen.insert(random_bits(0, 0, value));
  }
  CHECK(seen.size() == 6);
}

TEST_CASE("random_below stays below its bound and reaches every value evenly") {
  CHECK(random_below(5, 6, 7, 1) == 0);
  CHECK_THROWS_AS(random_below(5, 6, 7, 0), InternalError);
  CHECK(random_below(5, 6, 7, ~std::uint64_t{0}) < ~std::uint64_t{0});
  constexpr std::uint64_t kBound = 10;
  constexpr std::uint64_t kDraws = 100000;
  std::vector<std::int64_t> counts(kBound, 0);
  for (std::uint64_t i = 0; i < kDraws; ++i) {
    const std::uint64_t value = random_below(42, 1, i, kBound);
    REQUIRE(value < kBound);
    ++counts[value];
  }
  // Chi-squared with 9 degrees of freedom: 33.7 is the 0.9999 quantile. The draws are fixed, so is the
  // result.
  double chi_squared = 0;
  for (const std::int64_t count : counts) {
    const double difference = static_cast<double>(count) - static_cast<double>(kDraws / kBound);
    chi_squared += difference * difference / static_cast<double>(kDraws / kBound);
  }
  CHECK(chi_squared < 33.7);
}
