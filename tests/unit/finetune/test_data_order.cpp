#include <algorithm>
#include <numeric>

#include "catch.hpp"
#include "finetune/data_order.hpp"

using namespace bitfall;

TEST_CASE("an epoch has every image once, in an order of its own") {
  const auto first = epoch_order(1000, 1, 2, 0);
  auto sorted = first;
  std::sort(sorted.begin(), sorted.end());
  std::vector<std::int64_t> all(1000);
  std::iota(all.begin(), all.end(), std::int64_t{0});
  REQUIRE(sorted == all);
  REQUIRE(first != all);
  REQUIRE(epoch_order(1000, 1, 2, 0) == first);
  REQUIRE(epoch_order(1000, 1, 2, 1) != first);
  REQUIRE(epoch_order(1000, 1, 3, 0) != first);
  REQUIRE(epoch_order(1000, 2, 2, 0) != first);
  REQUIRE(epoch_order(0, 1, 2, 0).empty());
}
