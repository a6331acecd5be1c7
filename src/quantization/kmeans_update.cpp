#include "quantization/kmeans_update.hpp"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "bitfall/errors.hpp"

namespace bitfall {

Clusters::Clusters(const KmeansInput& input, const TiledBlocks& points, double largest_norm2, std::int64_t k,
                   int threads, const Backend& backend)
    : input_(input),
      largest_norm2_(largest_norm2),
      coordinate_scale_(FixedPoint::for_sum(input.scale.largest, input.count())),
      work_(backend.place(input, points, coordinate_scale_, k, threads)),
      totals_(static_cast<std::size_t>(k * (input.d + 1) + 2), 0) {}

AssignmentTotals Clusters::assign(const CodewordTable& table, const Communicator& communicator) {
  // |v - c|^2 <= (|v| + |c|)^2, and a little for the rounding of the chain.
  const double largest_error = std::sqrt(largest_norm2_) + std::sqrt(table.largest_norm2);
  const FixedPoint error_scale = FixedPoint::for_sum(1.01 * largest_error * largest_error, input_.count());
  work_->assign(table, error_scale, totals_, communicator);
  const std::int64_t objective = totals_[totals_.size() - 2];
  return {std::ldexp(error_scale.to_double(objective), -2 * input_.scale.exponent), totals_.back()};
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
