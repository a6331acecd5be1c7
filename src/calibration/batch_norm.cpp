#include <ATen/core/Tensor.h>

#include <algorithm>

#include "bitfall/calibration.hpp"
#include "bitfall/errors.hpp"
#include "calibration/channel_kernels.hpp"
#include "calibration/partial_sums.hpp"
#include "calibration/torch_errors.hpp"
#include "parallel/threads.hpp"

namespace bitfall {
namespace {

/// All inputs of one batch norm and how they are summed.
struct ChannelSums {
  const BatchNormStep& batch_norm;
  std::span<const at::Tensor> inputs;
  std::size_t channels;
  int threads;
  const Communicator& communicator;

  /// For each channel the sum over all images and positions of all ranks of (x
  /// - centers[channel])^power.
  [[nodiscard]] std::vector<double> total(const std::vector<double>& centers, int power) const {
    PartialSums partials(inputs.size(), channels);
    communicator.guarded("statistics of batch norm '" + batch_norm.name + "'", [&] {
      parallel_for(static_cast<std::int64_t>(inputs.size()), threads, [&](std::int64_t index) {
        const auto i = static_cast<std::size_t>(index);
        with_torch_errors([&] { add(inputs[i], centers, power, partials.row(i)); },
                          [&] { return "batch norm '" + batch_norm.name + "'"; });
      });
      if (!partials.is_finite()) {
        throw DataError("batch norm '" + batch_norm.name +
                        "': its input is NaN or infinite for some "
                        "calibration images; look for bad values in "
                        "the network's weights or in the preprocessing");
      }
    });
    return partials.total(communicator);
  }

  void add(const at::Tensor& input, const std::vector<double>& centers, int power,
           std::span<double> sums) const {
    if (input.dim() < 2 || input.size(1) != static_cast<std::int64_t>(channels)) {
      throw DataError("batch norm '" + batch_norm.name + "': its input does not have " +
                      std::to_string(channels) + " channels");
    }
    const at::Tensor plain = input.to(at::kFloat).contiguous();
    if (plain.numel() == 0) return;
    const float* plane = plain.const_data_ptr<float>();
    const std::int64_t length = plain.numel() / plain.size(0) / plain.size(1);
    for (std::int64_t image = 0; image < plain.size(0); ++image) {
      for (std::size_t channel = 0; channel < channels; ++channel, plane += length) {
        sums[channel] += centered_sum(plane, length, centers[channel], power);
      }
    }
  }
};

}  // namespace

void reestimate_batch_norm(Network& network, const BatchNormStep& batch_norm,
                           std::span<const at::Tensor> inputs, int threads,
                           const Communicator& communicator) {
  const auto channels = static_cast<std::size_t>(network.tensor(batch_norm.running_mean).numel());
  const ChannelSums sums{batch_norm, inputs, channels, threads, communicator};
  std::vector<double> mean = sums.total(std::vector<double>(channels, 0.0), 1);
  std::vector<std::int64_t> count{0};  // values of one channel
  for (const at::Tensor& input : inputs) count[0] += input.numel() / input.size(1);
  communicator.sum(count);
  if (count[0] == 0) return;  // no images: nothing is known, nothing changes

  // mean = sum x / n, then variance = sum (x - mean)^2 / (n - 1): two passes,
  // so nothing cancels; unbiased as batch norm keeps it in training. A single
  // value has no spread.
  for (double& value : mean) value /= static_cast<double>(count[0]);
  std::vector<double> variance = sums.total(mean, 2);
  for (double& value : variance) value /= static_cast<double>(std::max<std::int64_t>(count[0] - 1, 1));
  network.set_tensor(batch_norm.running_mean, std::vector<float>(mean.begin(), mean.end()));
  network.set_tensor(batch_norm.running_variance, std::vector<float>(variance.begin(), variance.end()));
}

}  // namespace bitfall
