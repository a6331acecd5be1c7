#include "parallel/deal.hpp"

#include <algorithm>
#include <numeric>

namespace bitfall {

std::vector<int> deal(std::span<const double> costs, int ranks) {
  std::vector<std::size_t> order(costs.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return costs[a] > costs[b]; });
  std::vector<double> load(static_cast<std::size_t>(ranks), 0.0);
  std::vector<int> owner(costs.size(), 0);
  for (const std::size_t piece : order) {
    const auto least = std::min_element(load.begin(), load.end());
    owner[piece] = static_cast<int>(least - load.begin());
    *least += costs[piece];
  }
  return owner;
}

}  // namespace bitfall
