#include <ATen/core/Tensor.h>

#include <algorithm>

#include "bitfall/calibration.hpp"
#include "bitfall/errors.hpp"
#include "calibration/exact_total.hpp"
#include "calibration/kernels.hpp"
#include "parallel/threads.hpp"

namespace bitfall {
namespace {

/// Per channel sum of (x - center)^power over one micro-batch [N, C, ...].
std::vector<double> channel_sums(const at::Tensor& input, const std::vector<double>& centers, int power) {
  const at::Tensor values = input.to(at::kFloat).contiguous();
  const std::int64_t channels = values.size(1), plane = values.numel() / values.size(0) / channels;
  std::vector<double> sums(static_cast<std::size_t>(channels), 0.0);
  for (std::int64_t n = 0; n < values.size(0); ++n) {
    for (std::int64_t c = 0; c < channels; ++c) {
      const auto slot = static_cast<std::size_t>(c);
      sums[slot] += centered_sum(values.const_data_ptr<float>() + (n * channels + c) * plane, plane, centers[slot], power);
    }
  }
  return sums;
}

}  // namespace

void reestimate_batch_norm(Network& network, const BatchNormStep& batch_norm, std::span<const at::Tensor> inputs,
                           int threads, const Communicator& communicator) {
  const auto channels = static_cast<std::size_t>(network.tensor(batch_norm.running_mean).numel());
  std::int64_t count = 0;
  for (const at::Tensor& input : inputs) count += input.numel() / input.size(1);
  communicator.sum(std::span(&count, 1));
  BITFALL_ASSERT(count > 0, batch_norm.name);
  const auto total = [&](const std::vector<double>& centers, int power) {
    std::vector<std::vector<double>> parts(inputs.size());
    communicator.guarded("statistics of " + batch_norm.name, [&] {
      parallel_for(static_cast<std::int64_t>(inputs.size()), threads, [&](std::int64_t i) {
        const auto slot = static_cast<std::size_t>(i);
        parts[slot] = channel_sums(inputs[slot], centers, power);
      });
    });
    return exact_total(parts, channels, communicator);
  };
  // Two passes: the squared deviations are taken from the mean of all images, so nothing cancels.
  std::vector<double> mean = total(std::vector<double>(channels, 0.0), 1);
  for (double& value : mean) value /= static_cast<double>(count);
  std::vector<double> variance = total(mean, 2);
  // Unbiased, as batch norm keeps it in training: n - 1 (a single value has variance 0).
  for (double& value : variance) value /= static_cast<double>(std::max<std::int64_t>(count - 1, 1));
  const std::vector<float> mean_float(mean.begin(), mean.end()), variance_float(variance.begin(), variance.end());
  network.set_tensor(batch_norm.running_mean, mean_float);
  network.set_tensor(batch_norm.running_variance, variance_float);
}

}  // namespace bitfall
