#include "quantization/kmeans_update.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "bitfall/errors.hpp"
#include "parallel/threads.hpp"

namespace bitfall {
namespace {

/// Groups whose new codes are looked at while they are still in the first-level cache.
constexpr std::int64_t chunk_groups = 16;

}  // namespace

Clusters::Clusters(const KmeansInput& input, const TiledBlocks& points, double largest_norm2, std::int64_t k,
                   int threads)
    : input_(input),
      points_(points),
      largest_norm2_(largest_norm2),
      k_(k),
      coordinate_scale_(FixedPoint::for_sum(input.scale.largest, input.count())),
      workers_(static_cast<std::size_t>(useful_threads(points.count * k * input.d, threads))),
      codes_(static_cast<std::size_t>(points.count), -1),
      errors_(static_cast<std::size_t>(points.count), 0.0f) {
  for (Worker& worker : workers_) worker.sums.assign(static_cast<std::size_t>(k * (input.d + 1)), 0);
}

AssignmentTotals Clusters::assign(const CodewordTable& table, const Communicator& communicator) {
  // |v - c|^2 <= (|v| + |c|)^2, and a little for the rounding of the chain.
  const double largest_error = std::sqrt(largest_norm2_) + std::sqrt(table.largest_norm2);
  const FixedPoint error_scale = FixedPoint::for_sum(1.01 * largest_error * largest_error, input_.count());
  const auto threads = static_cast<int>(workers_.size());
  parallel_for(threads, threads, [&](std::int64_t thread) {
    assign_share(table, error_scale, Communicator::share(points_.groups(), static_cast<int>(thread), threads),
                 workers_[static_cast<std::size_t>(thread)]);
  });
  totals_.assign(workers_.front().sums.size() + 2, 0);
  std::int64_t& objective = totals_[totals_.size() - 2];
  std::int64_t& moved = totals_.back();
  for (const Worker& worker : workers_) {
    for (std::size_t i = 0; i < worker.sums.size(); ++i) totals_[i] += worker.sums[i];
    objective += worker.objective;
    moved += worker.moved;
  }
  communicator.sum(totals_);
  return {std::ldexp(error_scale.to_double(objective), -2 * input_.scale.exponent), moved};
}

void Clusters::assign_share(const CodewordTable& table, const FixedPoint& error_scale,
                            Communicator::Range groups, Worker& worker) {
  constexpr auto capacity = static_cast<std::size_t>(chunk_groups * group_points);
  std::vector<std::int32_t> codes(capacity);
  std::vector<float> errors(capacity);
  worker.objective = 0;
  worker.moved = 0;
  for (std::int64_t group = groups.first; group < groups.last; group += chunk_groups) {
    assign_groups(points_.group(group), std::min(chunk_groups, groups.last - group), table, codes.data(),
                  errors.data());
    const std::int64_t first = group * group_points;
    const std::int64_t last =
        std::min({first + chunk_groups * group_points, groups.last * group_points, points_.count});
    for (std::int64_t point = first; point < last; ++point) {
      const auto i = static_cast<std::size_t>(point - first);
      worker.objective += error_scale.to_integer(static_cast<double>(errors[i]));
      if (codes[i] != codes_[static_cast<std::size_t>(point)]) move(point, codes[i], worker);
    }
    if (last > first) std::copy_n(errors.begin(), last - first, errors_.begin() + first);
  }
}

void Clusters::move(std::int64_t point, std::int32_t to, Worker& worker) {
  const auto d = static_cast<std::size_t>(input_.d);
  const float* block = input_.blocks.data() + static_cast<std::size_t>(points_.first + point) * d;
  std::int32_t& code = codes_[static_cast<std::size_t>(point)];
  std::int64_t* gains = worker.sums.data() + static_cast<std::size_t>(to) * (d + 1);
  // The first E-step has no cluster to subtract from.
  std::int64_t* loses = code < 0 ? nullptr : worker.sums.data() + static_cast<std::size_t>(code) * (d + 1);
  for (std::size_t j = 0; j < d; ++j) {
    const std::int64_t value = coordinate_scale_.to_integer(static_cast<double>(block[j]));
    gains[j] += value;
    if (loses) loses[j] -= value;
  }
  gains[d] += 1;
  if (loses) loses[d] -= 1;
  code = to;
  worker.moved += 1;
}

std::int64_t Clusters::count(std::int64_t code) const {
  return totals_[static_cast<std::size_t>(code * (input_.d + 1) + input_.d)];
}

void Clusters::release(std::int64_t block, std::int64_t code) {
  std::int64_t* totals = totals_.data() + code * (input_.d + 1);
  for (const float value : input_.block(block))
    *totals++ -= coordinate_scale_.to_integer(static_cast<double>(value));
  *totals -= 1;
}

void Clusters::mean(std::int64_t code, std::span<float> out) const {
  const auto members = static_cast<double>(count(code));
  BITFALL_ASSERT(members > 0, "mean of an empty cluster");
  const std::int64_t* sums = totals_.data() + code * (input_.d + 1);
  for (std::size_t j = 0; j < out.size(); ++j)
    out[j] = static_cast<float>(coordinate_scale_.to_double(sums[j]) / members);
}

}  // namespace bitfall
