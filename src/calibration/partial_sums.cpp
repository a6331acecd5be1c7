#include "calibration/partial_sums.hpp"

#include <algorithm>
#include <cmath>

#include "bitfall/exact_sum.hpp"

namespace bitfall {

bool PartialSums::is_finite() const {
  return std::all_of(values_.begin(), values_.end(), [](double value) { return std::isfinite(value); });
}

std::vector<double> PartialSums::total(const Communicator& communicator, std::size_t merged) const {
  double largest = 0;
  for (const double value : values_) largest = std::max(largest, std::abs(value));
  std::vector<std::int64_t> addends{static_cast<std::int64_t>(micro_batches_ * merged)};
  communicator.sum(addends);
  const FixedPoint scale = FixedPoint::for_sum(communicator.max(largest), addends[0]);

  const std::size_t results = quantities_ / merged;
  std::vector<std::int64_t> sums(results);
  for (std::size_t i = 0; i < values_.size(); ++i)
    sums[i % quantities_ % results] += scale.to_integer(values_[i]);
  communicator.sum(sums);

  std::vector<double> totals(results);
  for (std::size_t i = 0; i < results; ++i) totals[i] = scale.to_double(sums[i]);
  return totals;
}

}  // namespace bitfall
