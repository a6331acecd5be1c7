#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "bitfall/calibration.hpp"
#include "bitfall/errors.hpp"
#include "parallel/threads.hpp"

namespace bitfall {
namespace {

void run_everywhere(const Network& network, std::int64_t step, std::vector<LiveValues>& frontier, int threads) {
  parallel_for(static_cast<std::int64_t>(frontier.size()), threads, [&](std::int64_t i) {
    const at::NoGradGuard no_grad;  // thread-local
    network.run_step(step, frontier[static_cast<std::size_t>(i)]);
  });
}

std::int64_t live_bytes(const std::vector<LiveValues>& frontier) {
  std::int64_t bytes = 0;
  for (const LiveValues& values : frontier) bytes += values.bytes();
  return bytes;
}

}  // namespace

std::vector<at::Tensor> walk(const Network& network, std::vector<at::Tensor> micro_batches,
                             const WalkParameters& parameters, const Communicator& communicator,
                             const std::function<void(const WalkStep&)>& before_step, WalkStatistics* statistics) {
  std::vector<LiveValues> frontier;
  for (at::Tensor& input : micro_batches) frontier.push_back(network.start(std::move(input)));
  micro_batches.clear();
  const at::NoGradGuard no_grad;
  for (std::int64_t step = 0; step < network.step_count(); ++step) {
    if (network.layer_of_step(step) || network.batch_norm_of_step(step) != nullptr) {
      if (statistics != nullptr)
        statistics->peak_frontier_bytes = std::max(statistics->peak_frontier_bytes, live_bytes(frontier));
      std::vector<at::Tensor> inputs;
      for (const LiveValues& values : frontier) inputs.push_back(network.step_input(step, values));
      before_step(WalkStep{step, inputs});
    }
    communicator.guarded(network.describe_step(step), [&] { run_everywhere(network, step, frontier, parameters.threads); });
  }
  std::vector<at::Tensor> logits;
  communicator.guarded("the network's output", [&] {
    for (const LiveValues& values : frontier) logits.push_back(network.output(values));
  });
  return logits;
}

std::int64_t frontier_bytes_per_image(const Network& network, std::span<const std::int64_t> image_shape) {
  std::vector<std::int64_t> shape = {1};
  shape.insert(shape.end(), image_shape.begin(), image_shape.end());
  const at::NoGradGuard no_grad;
  LiveValues values = network.start(at::zeros(shape));
  std::int64_t largest = values.bytes();
  for (std::int64_t step = 0; step < network.step_count(); ++step) {
    network.run_step(step, values);
    largest = std::max(largest, values.bytes());
  }
  return largest;
}

}  // namespace bitfall
