#include "parallel/carried_sum.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "bitfall/errors.hpp"
#include "bitfall/exact_sum.hpp"

namespace bitfall {
namespace {

/// How much larger than the last sum a value may be.
constexpr double room = 65536;

}  // namespace

CarriedSum::CarriedSum(std::vector<std::int64_t> segments)
    : segments_(std::move(segments)),
      size_(std::accumulate(segments_.begin(), segments_.end(), std::int64_t{0})),
      bounds_(segments_.size(), 0.0) {}

void CarriedSum::set_bounds(std::vector<double> bounds) {
  BITFALL_ASSERT(bounds.size() == segments_.size(), "one bound for each segment");
  bounds_ = std::move(bounds);
}

/// The rows' sums as integers, and at the end how many values were out of bounds.
std::vector<std::int64_t> CarriedSum::add(std::span<const std::vector<double>> rows,
                                          std::int64_t addends) const {
  std::vector<std::int64_t> sums(static_cast<std::size_t>(size_) + 1, 0);
  std::size_t first = 0;
  for (std::size_t s = 0; s < segments_.size(); ++s) {
    const std::size_t last = first + static_cast<std::size_t>(segments_[s]);
    const FixedPoint scale = FixedPoint::for_sum(bounds_[s], addends);
    for (const std::vector<double>& row : rows) {
      for (std::size_t i = first; i < last; ++i) {
        // Written so that NaN is out of bounds.
        if (std::abs(row[i]) <= bounds_[s])
          sums[i] += scale.to_integer(row[i]);
        else
          ++sums.back();
      }
    }
    first = last;
  }
  return sums;
}

void CarriedSum::agree_on_bounds(std::span<const std::vector<double>> rows,
                                 const Communicator& communicator) {
  std::vector<double> largest(segments_.size(), 0.0);
  std::size_t first = 0;
  for (std::size_t s = 0; s < segments_.size(); ++s) {
    const std::size_t last = first + static_cast<std::size_t>(segments_[s]);
    for (const std::vector<double>& row : rows) {
      for (std::size_t i = first; i < last; ++i) {
        const double magnitude = std::isfinite(row[i]) ? std::abs(row[i]) : HUGE_VAL;
        largest[s] = std::max(largest[s], magnitude);
      }
    }
    first = last;
  }
  const std::vector<double> all = communicator.all_gather(std::span<const double>(largest));
  for (std::size_t i = 0; i < all.size(); ++i) {
    double& most = largest[i % largest.size()];
    most = std::max(most, all[i]);
  }
  bounds_ = largest;
  bytes_ += static_cast<std::int64_t>(all.size() * sizeof(double));
}

std::vector<double> CarriedSum::unscale(std::span<const std::int64_t> sums, std::int64_t addends) {
  std::vector<double> totals(static_cast<std::size_t>(size_));
  std::size_t first = 0;
  for (std::size_t s = 0; s < segments_.size(); ++s) {
    const std::size_t last = first + static_cast<std::size_t>(segments_[s]);
    const FixedPoint scale = FixedPoint::for_sum(bounds_[s], addends);
    double largest = 0;
    for (std::size_t i = first; i < last; ++i) {
      totals[i] = scale.to_double(sums[i]);
      largest = std::max(largest, std::abs(totals[i]));
    }
    // A sum of zero says nothing about the addends to come.
    if (largest > 0) bounds_[s] = room * largest;
    first = last;
  }
  return totals;
}

std::vector<double> CarriedSum::total(std::span<const std::vector<double>> rows, std::int64_t addends,
                                      std::span<std::int64_t> counts, const Communicator& communicator) {
  for (const std::vector<double>& row : rows)
    BITFALL_ASSERT(std::cmp_equal(row.size(), size_), "a row has all segments");
  std::vector<std::int64_t> sums = add(rows, addends);
  sums.insert(sums.end(), counts.begin(), counts.end());
  reduce(sums, communicator);
  std::copy(sums.end() - static_cast<std::ptrdiff_t>(counts.size()), sums.end(), counts.begin());
  if (sums[static_cast<std::size_t>(size_)] == 0) return unscale(sums, addends);
  ++repeats_;
  agree_on_bounds(rows, communicator);
  if (!std::all_of(bounds_.begin(), bounds_.end(), [](double bound) { return std::isfinite(bound); })) {
    bounds_.assign(bounds_.size(), 0.0);
    throw DataError("a gradient or a statistic is NaN or infinite: lower the learning rate");
  }
  sums = add(rows, addends);
  reduce(sums, communicator);
  BITFALL_ASSERT(sums.back() == 0, "values are within the bounds agreed on");
  return unscale(sums, addends);
}

void CarriedSum::reduce(std::vector<std::int64_t>& sums, const Communicator& communicator) {
  communicator.sum(sums);
  bytes_ += static_cast<std::int64_t>(sums.size() * sizeof(std::int64_t));
}

}  // namespace bitfall
