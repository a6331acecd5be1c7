#include "calibration/exact_total.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "bitfall/errors.hpp"
#include "bitfall/exact_sum.hpp"

namespace bitfall {

namespace {

/// A fixed bound and not the real number of micro-batches of all ranks: the scale then depends on the values alone.
constexpr std::int64_t most_micro_batches = std::int64_t{1} << 24;

}  // namespace

std::vector<double> exact_total(const std::vector<std::vector<double>>& parts, std::size_t length,
                                const Communicator& communicator) {
  double largest = 0;
  for (const auto& part : parts) {
    BITFALL_ASSERT(part.size() == length, "contributions of one length");
    for (const double value : part) largest = std::max(largest, std::fabs(value));
  }
  const FixedPoint scale = FixedPoint::for_sum(communicator.max(largest), most_micro_batches);
  std::vector<std::int64_t> sums(length, 0);
  for (const auto& part : parts) {
    for (std::size_t i = 0; i < length; ++i) sums[i] += scale.to_integer(part[i]);
  }
  communicator.sum(sums);
  std::vector<double> total(length);
  std::transform(sums.begin(), sums.end(), total.begin(), [&](std::int64_t sum) { return scale.to_double(sum); });
  return total;
}

}  // namespace bitfall
