#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "bitfall/errors.hpp"
#include "catch.hpp"
#include "parallel/carried_sum.hpp"

using namespace bitfall;

namespace {

const Communicator alone = Communicator::self();

std::vector<std::vector<double>> random_rows(std::mt19937& random, std::size_t count, double scale) {
  std::normal_distribution<double> normal;
  std::vector<std::vector<double>> rows(count, std::vector<double>(5));
  for (auto& row : rows) {
    for (std::size_t i = 0; i < 5; ++i) row[i] = scale * (i < 3 ? 1.0 : 1e9) * normal(random);
  }
  return rows;
}

}  // namespace

TEST_CASE("sums are right to far more than a float's digits, whatever their segments' magnitudes") {
  std::mt19937 random(3);
  CarriedSum sums({3, 2});
  for (int step = 0; step < 50; ++step) {
    const auto rows = random_rows(random, 8, 1 + step % 7);
    const std::vector<double> found = sums.total(rows, 8, {}, alone);
    for (std::size_t i = 0; i < 5; ++i) {
      long double expected = 0, magnitude = 0;
      for (const auto& row : rows) expected += row[i], magnitude += std::abs(row[i]);
      REQUIRE(std::abs(found[i] - static_cast<double>(expected)) <= 1e-9 * static_cast<double>(magnitude));
    }
  }
  REQUIRE(sums.repeats() == 1);  // the first, when no scale was known
}

TEST_CASE("the order of rows does not matter") {
  std::mt19937 random(4);
  CarriedSum forward({3, 2}), backward({3, 2});
  for (int step = 0; step < 10; ++step) {
    auto rows = random_rows(random, 6, 1);
    const auto first = forward.total(rows, 6, {}, alone);
    std::reverse(rows.begin(), rows.end());
    REQUIRE(backward.total(rows, 6, {}, alone) == first);
  }
}

TEST_CASE("values that outgrow their scale are summed again, once") {
  CarriedSum sums({1, 1});
  const std::vector<std::vector<double>> small = {{1, 1}, {2, 2}}, large = {{1e9, 1}, {2e9, 2}};
  REQUIRE(sums.total(small, 2, {}, alone) == std::vector<double>{3, 3});
  REQUIRE(sums.total(large, 2, {}, alone) == std::vector<double>{3e9, 3});
  REQUIRE(sums.repeats() == 2);
  REQUIRE(sums.total(large, 2, {}, alone) == std::vector<double>{3e9, 3});
  REQUIRE(sums.repeats() == 2);
}

TEST_CASE("zeros, no rows, and counts that travel along") {
  CarriedSum sums({2});
  std::vector<std::int64_t> counts = {5, -7};
  REQUIRE(sums.total(std::vector<std::vector<double>>{{0, 0}}, 1, counts, alone) ==
          std::vector<double>{0, 0});
  REQUIRE(sums.total({}, 0, counts, alone) == std::vector<double>{0, 0});
  REQUIRE(sums.total(std::vector<std::vector<double>>{{0.5, -0.25}}, 1, counts, alone) ==
          std::vector<double>{0.5, -0.25});
  REQUIRE(counts == std::vector<std::int64_t>{5, -7});
}

TEST_CASE("NaN and infinity are refused, and the next sum is right again") {
  for (const double bad :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    CarriedSum sums({1});
    REQUIRE(sums.total(std::vector<std::vector<double>>{{1}}, 1, {}, alone) == std::vector<double>{1});
    REQUIRE_THROWS_AS(sums.total(std::vector<std::vector<double>>{{bad}}, 1, {}, alone), DataError);
    REQUIRE(sums.total(std::vector<std::vector<double>>{{2}}, 1, {}, alone) == std::vector<double>{2});
  }
}

TEST_CASE("bounds that are taken over give the same bits") {
  std::mt19937 random(5);
  CarriedSum first({3, 2});
  static_cast<void>(first.total(random_rows(random, 4, 1), 4, {}, alone));
  CarriedSum second({3, 2});
  second.set_bounds(first.bounds());
  const auto rows = random_rows(random, 4, 1);
  REQUIRE(first.total(rows, 4, {}, alone) == second.total(rows, 4, {}, alone));
  REQUIRE(second.repeats() == 0);
}
