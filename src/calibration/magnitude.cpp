#include "calibration/magnitude.hpp"

#include <ATen/TensorOperators.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "parallel/threads.hpp"

namespace bitfall {
namespace {

double of_one(const at::Tensor& tensor) {
  if (tensor.numel() == 0) return 0;
  if (!tensor.is_cpu()) {
    const double most = tensor.abs().max().item<double>();  // NaN, if one value is
    return std::isnan(most) ? HUGE_VAL : most;
  }
  const float* value = tensor.const_data_ptr<float>();
  const float* end = value + tensor.numel();
  // Without their sign, floats have the order of their bits, NaN above infinity: a loop that vectorises.
  std::uint32_t most = 0;
  for (; value < end; ++value) most = std::max(most, std::bit_cast<std::uint32_t>(*value) & 0x7fffffffU);
  const auto found = static_cast<double>(std::bit_cast<float>(most));
  return std::isnan(found) ? HUGE_VAL : found;
}

}  // namespace

double largest_magnitude(std::span<const at::Tensor> tensors, int threads) {
  std::vector<double> largest(tensors.size(), 0.0);
  const bool here = tensors.empty() || tensors.front().is_cpu();
  parallel_for(static_cast<std::int64_t>(tensors.size()), here ? threads : 1, [&](std::int64_t i) {
    largest[static_cast<std::size_t>(i)] = of_one(tensors[static_cast<std::size_t>(i)]);
  });
  return largest.empty() ? 0 : *std::max_element(largest.begin(), largest.end());
}

}  // namespace bitfall
