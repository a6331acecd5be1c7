#include "finetune/data_order.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "bitfall/random.hpp"

namespace bitfall {

std::vector<std::int64_t> epoch_order(std::int64_t count, std::uint64_t seed, std::uint64_t stream,
                                      std::int64_t epoch) {
  // Sorting by random keys gives a uniform permutation; the index breaks ties.
  std::vector<std::pair<std::uint64_t, std::int64_t>> keys(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const std::uint64_t counter = (static_cast<std::uint64_t>(epoch) << 32) | i;
    keys[i] = {random_bits(seed, stream, counter), static_cast<std::int64_t>(i)};
  }
  std::sort(keys.begin(), keys.end());
  std::vector<std::int64_t> order(keys.size());
  std::transform(keys.begin(), keys.end(), order.begin(), [](const auto& key) { return key.second; });
  return order;
}

}  // namespace bitfall
