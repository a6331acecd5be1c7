// Sums beyond 2^24 addends: a float32 accumulator stands still there (x + 1 == x), ours count on.
#include <cstdint>
#include <vector>

#include "bitfall/kmeans.hpp"
#include "catch.hpp"

using namespace bitfall;

TEST_CASE("objective, counts and means of more than 2^24 blocks are exact") {
  constexpr std::size_t n = (std::size_t{1} << 24) + (std::size_t{1} << 21);
  // A quarter each of -11, -9, 9 and 11: every block is 1 from its codeword, -10 or 10.
  std::vector<float> values(n);
  const float kinds[] = {-11, -9, 9, 11};
  float in_float = 0;
  for (std::size_t i = 0; i < n; ++i) {
    values[i] = kinds[i % 4];
    in_float += 1.0F;
  }
  REQUIRE(in_float == 16777216.0F);  // what this test would not notice in float32
  KmeansParameters parameters;
  parameters.k = 2;
  parameters.iterations = 10;
  for (parameters.threads = 1; parameters.threads <= 2; ++parameters.threads) {
    const KmeansResult found = kmeans(values, 1, Whitening::identity(1), parameters, Communicator::self());
    REQUIRE(found.k == 2);
    CHECK(found.iterations.back().objective == double(n));
    std::int64_t members[2] = {0, 0};
    for (const std::uint16_t code : found.codes) ++members[code];
    CHECK(members[0] == std::int64_t(n / 2));
    CHECK(members[1] == std::int64_t(n / 2));
    const std::uint16_t ten = 0x4900;  // fp16
    const bool first_is_positive = found.codebook[0] == ten;
    CHECK(found.codebook[first_is_positive ? 0 : 1] == ten);
    CHECK(found.codebook[first_is_positive ? 1 : 0] == (ten | 0x8000));
  }
}
