#include <ATen/core/Tensor.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>

#include "bitfall/calibration.hpp"
#include "bitfall/errors.hpp"
#include "calibration/channel_kernels.hpp"
#include "calibration/device_moments.hpp"
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
      const int together = all_on_host(inputs) ? threads : 1;
      parallel_for(static_cast<std::int64_t>(inputs.size()), together, [&](std::int64_t index) {
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
    if (input.numel() == 0) return;
    if (!input.is_cpu()) {
      const at::Tensor found =
          device_channel_sums(input, at::tensor(at::ArrayRef<double>(centers)).to(input.device()), power)
              .cpu();
      const double* value = found.const_data_ptr<double>();
      for (std::size_t channel = 0; channel < channels; ++channel) sums[channel] += value[channel];
      return;
    }
    const at::Tensor plain = input.to(at::kFloat).contiguous();
    const float* plane = plain.const_data_ptr<float>();
    const std::int64_t length = plain.numel() / plain.size(0) / plain.size(1);
    for (std::int64_t image = 0; image < plain.size(0); ++image) {
      for (std::size_t channel = 0; channel < channels; ++channel, plane += length) {
        sums[channel] += centered_sum(plane, length, centers[channel], power);
      }
    }
  }
};

/// Mean and variance of each channel over all images and positions of all ranks.
struct ChannelStatistics {
  std::vector<double> mean, variance;
  std::int64_t count = 0;  ///< values of one channel
};

/// mean = sum x / n, then variance = sum (x - mean)^2 / (n - 1): two passes, so nothing cancels; unbiased as
/// batch norm keeps it in training. A single value has no spread.
ChannelStatistics measure(const ChannelSums& sums) {
  ChannelStatistics found;
  found.mean = sums.total(std::vector<double>(sums.channels, 0.0), 1);
  std::vector<std::int64_t> count{0};
  for (const at::Tensor& input : sums.inputs) count[0] += input.numel() / input.size(1);
  sums.communicator.sum(count);
  found.count = count[0];
  if (found.count == 0) return found;
  for (double& value : found.mean) value /= static_cast<double>(found.count);
  found.variance = sums.total(found.mean, 2);
  for (double& value : found.variance)
    value /= static_cast<double>(std::max<std::int64_t>(found.count - 1, 1));
  return found;
}

/// The statistics with which the student's output has the mean and variance that the teacher's has with its
/// own m and v: with r^2 = (var_s + e) / (var_t + e),  m' = mean_s - r (mean_t - m),  v' = (v + e) r^2 - e.
void follow_teacher(ChannelStatistics& student, const ChannelStatistics& teacher, const at::Tensor& mean,
                    const at::Tensor& variance, double epsilon) {
  const at::Tensor m = mean.to(at::kFloat).contiguous(), v = variance.to(at::kFloat).contiguous();
  for (std::size_t c = 0; c < student.mean.size(); ++c) {
    const double ratio2 = (student.variance[c] + epsilon) / (teacher.variance[c] + epsilon);
    student.mean[c] -= std::sqrt(ratio2) * (teacher.mean[c] - double(m.const_data_ptr<float>()[c]));
    student.variance[c] = std::max(0.0, (double(v.const_data_ptr<float>()[c]) + epsilon) * ratio2 - epsilon);
  }
}

}  // namespace

void reestimate_batch_norm(Network& network, const BatchNormStep& batch_norm, const WalkStep& step,
                           int threads, const Communicator& communicator) {
  const auto channels = static_cast<std::size_t>(network.tensor(batch_norm.running_mean).numel());
  ChannelStatistics found = measure({batch_norm, step.inputs, channels, threads, communicator});
  if (found.count == 0) return;  // no images: nothing is known, nothing changes
  if (step.teacher != nullptr) {
    follow_teacher(found, measure({batch_norm, step.teacher_inputs, channels, threads, communicator}),
                   step.teacher->tensor(batch_norm.running_mean),
                   step.teacher->tensor(batch_norm.running_variance), batch_norm.epsilon);
  }
  network.set_tensor(batch_norm.running_mean, std::vector<float>(found.mean.begin(), found.mean.end()));
  network.set_tensor(batch_norm.running_variance,
                     std::vector<float>(found.variance.begin(), found.variance.end()));
}

}  // namespace bitfall
