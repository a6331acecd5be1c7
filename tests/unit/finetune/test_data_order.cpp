#include <algorithm>
#include <numeric>

#include "bitfall/random.hpp"
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

TEST_CASE("batches of shards that `pack` has shuffled under the same seed have all classes") {
  constexpr std::int64_t classes = 10, each = 500, count = classes * each;
  for (const std::uint64_t seed : {0u, 1u, 7u}) {
    std::vector<std::int64_t> labels;  // by class first, then as pack() shuffles
    for (std::int64_t i = 0; i < count; ++i) labels.push_back(i / each);
    for (std::size_t i = labels.size() - 1; i > 0; --i)
      std::swap(labels[i], labels[random_below(seed, random_stream::pack_order, i, i + 1)]);
    const auto order = epoch_order(count, seed, random_stream::epoch_order, 0);
    std::vector<int> found(classes, 0);
    for (std::size_t i = 0; i < 1000; ++i)
      ++found[static_cast<std::size_t>(labels[static_cast<std::size_t>(order[i])])];
    // 100 of each expected, standard deviation below 10
    for (const int n : found) CHECK((n > 50 && n < 150));
  }
}
