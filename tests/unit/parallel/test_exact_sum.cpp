#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "bitfall/errors.hpp"
#include "bitfall/exact_sum.hpp"
#include "catch.hpp"

using bitfall::FixedPoint;

namespace {

/// addends * largest * 2^s <= 2^62, in long double (64-bit mantissa) with numbers for which that is exact.
bool fits(double largest, std::int64_t addends, int exponent) {
  return std::ldexp(static_cast<long double>(largest) * static_cast<long double>(addends), exponent) <=
         std::ldexp(1.0L, 62);
}

}  // namespace

TEST_CASE("the scale is the largest one that can't overflow") {
  const std::vector<double> magnitudes{1.0, 0.75, 3.0, 1e-3, 255.0, 1e6, 1e-12, 0x1.fffffep+0};
  for (const double largest : magnitudes) {
    for (const std::int64_t addends : {1LL, 2LL, 3LL, 10LL, 1000LL, 12'345'678LL}) {
      const int s = FixedPoint::for_sum(largest, addends).exponent();
      INFO(largest << " * " << addends);
      REQUIRE(fits(largest, addends, s));
      REQUIRE_FALSE(fits(largest, addends, s + 1));
    }
  }
}

TEST_CASE("worked examples of the scale") {
  REQUIRE(FixedPoint::for_sum(1.0, 1).exponent() == 62);
  REQUIRE(FixedPoint::for_sum(1.0, 2).exponent() == 61);
  REQUIRE(FixedPoint::for_sum(1.0, 3).exponent() == 60);
  REQUIRE(FixedPoint::for_sum(0.5, 1).exponent() == 63);
  REQUIRE(FixedPoint::for_sum(0.0, 1000).exponent() == 0);
  REQUIRE(FixedPoint::for_sum(1.0, 0).exponent() == 0);
}

TEST_CASE("extremes of the addends and of the magnitude stay in range") {
  const auto most = std::numeric_limits<std::int64_t>::max();
  const FixedPoint many = FixedPoint::for_sum(1.0, most);
  REQUIRE(many.exponent() == -1);
  const double tiny = std::numeric_limits<double>::denorm_min();
  const FixedPoint small = FixedPoint::for_sum(tiny, 1);
  REQUIRE(std::isfinite(small.to_double(small.to_integer(tiny))));
  const FixedPoint big = FixedPoint::for_sum(1e300, 1000);
  REQUIRE(big.to_double(big.to_integer(1e300)) == Approx(1e300));
}

TEST_CASE("values that are not finite are refused") {
  REQUIRE_THROWS_AS(FixedPoint::for_sum(std::numeric_limits<double>::infinity(), 1), bitfall::DataError);
  REQUIRE_THROWS_AS(FixedPoint::for_sum(std::numeric_limits<double>::quiet_NaN(), 1), bitfall::DataError);
}

TEST_CASE("a full sum of the largest value neither overflows nor loses anything") {
  const std::int64_t addends = 1000;
  const FixedPoint scale = FixedPoint::for_sum(255.0, addends);
  std::int64_t sum = 0;
  for (std::int64_t i = 0; i < addends; ++i) sum += scale.to_integer(255.0);
  REQUIRE(scale.to_double(sum) == 255.0 * addends);
  sum = 0;
  for (std::int64_t i = 0; i < addends; ++i) sum += scale.to_integer(-255.0);
  REQUIRE(scale.to_double(sum) == -255.0 * addends);
}

TEST_CASE("any order gives the same bits, close to the sum in long double") {
  std::mt19937_64 random(7);
  std::uniform_real_distribution<double> uniform(-10, 10);
  std::vector<double> values(10'000);
  for (double& value : values) value = uniform(random);
  const FixedPoint scale = FixedPoint::for_sum(10.0, static_cast<std::int64_t>(values.size()));
  const auto sum = [&] {
    std::int64_t total = 0;
    for (const double value : values) total += scale.to_integer(value);
    return scale.to_double(total);
  };
  const double first = sum();
  long double plain = 0;
  for (const double value : values) plain += value;
  REQUIRE(std::abs(first - static_cast<double>(plain)) < 1e-11);
  for (int repetition = 0; repetition < 10; ++repetition) {
    std::shuffle(values.begin(), values.end(), random);
    REQUIRE(sum() == first);
  }
}

TEST_CASE("sums at both ends of the range of a double fill up and do not overflow") {
  // The largest sum that there is, of either sign, for numbers of addends around every power of two. Whole
  // sums are formed by a product that may not overflow either.
  for (const double largest : {std::numeric_limits<double>::denorm_min(), std::numeric_limits<double>::min(),
                               0x1.fffffffffffffp-1, 1.0, 0x1.fffffffffffffp+0, 0x1p60, 1e200}) {
    for (int power = 0; power < 62; ++power) {
      for (const std::int64_t off : {-1, 0, 1}) {
        const std::int64_t addends = (std::int64_t{1} << power) + off;
        if (addends < 1) continue;
        const FixedPoint scale = FixedPoint::for_sum(largest, addends);
        std::int64_t sum = 0;
        INFO(largest << " * " << addends);
        REQUIRE_FALSE(__builtin_mul_overflow(scale.to_integer(largest), addends, &sum));
        REQUIRE_FALSE(__builtin_mul_overflow(scale.to_integer(-largest), addends, &sum));
        // Rounding each addend up by a half is within the margin: 2^62 + 2^61 < 2^63.
        REQUIRE(sum >= -(std::int64_t{1} << 62) - (std::int64_t{1} << 61));
      }
    }
  }
}

TEST_CASE("a sum of more than 2^24 ones is exact, where a float32 stands still") {
  const std::int64_t addends = (std::int64_t{1} << 24) + 1000;
  const FixedPoint scale = FixedPoint::for_sum(1.0, addends);
  std::int64_t sum = 0;
  float plain = 0;
  for (std::int64_t i = 0; i < addends; ++i) {
    sum += scale.to_integer(1.0);
    plain += 1.0F;
  }
  REQUIRE(scale.to_double(sum) == double(addends));
  REQUIRE(plain == 16777216.0F);
}

TEST_CASE("halves round to even") {
  const FixedPoint scale = FixedPoint::for_sum(1.0, std::int64_t{1} << 62);
  REQUIRE(scale.exponent() == 0);
  REQUIRE(scale.to_integer(0.5) == 0);
  REQUIRE(scale.to_integer(1.5) == 2);
  REQUIRE(scale.to_integer(-0.5) == 0);
}
