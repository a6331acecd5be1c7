#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "bitfall/calibration.hpp"
#include "calibration/torch_errors.hpp"

namespace bitfall {
namespace {

/// Counts what LibTorch's CPU allocator hands out on this thread: tensors, and
/// the buffers in which oneDNN keeps reordered inputs, weights and outputs.
/// LibTorch calls it as it calls its own memory profiler.
class AllocationCounter final : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void* /*ptr*/, std::int64_t size, std::size_t /*total_allocated*/,
                         std::size_t /*total_reserved*/, c10::Device /*device*/) override {
    live_ += size;  // negative when memory is freed
    peak_ = std::max(peak_, live_);
  }
  [[nodiscard]] bool memoryProfilingEnabled() const override { return true; }

  [[nodiscard]] std::int64_t live() const { return live_; }
  /// The most that was live since the last call.
  [[nodiscard]] std::int64_t take_peak() {
    const std::int64_t peak = peak_;
    peak_ = live_;
    return peak;
  }

 private:
  std::int64_t live_ = 0;
  std::int64_t peak_ = 0;
};

/// Live bytes of one micro-batch around one step.
struct StepBytes {
  std::int64_t before = 0;
  std::int64_t peak = 0;  ///< the most while the step runs
  std::int64_t after = 0;
};

/// Runs one micro-batch of zeros and looks at the memory around each step. Showing a layer's inputs counts as
/// a step that leaves them: those of a layer that runs several times are made for the occasion.
std::vector<StepBytes> trace_steps(const Network& network, std::span<const std::int64_t> image_shape,
                                   std::int64_t images) {
  std::vector<std::int64_t> shape{images};
  shape.insert(shape.end(), image_shape.begin(), image_shape.end());
  const at::NoGradGuard no_grad;
  const int threads_before = at::get_num_threads();
  at::set_num_threads(1);  // as in the walk; also keeps all allocations on the counting thread
  std::vector<StepBytes> steps;
  std::int64_t step = 0;
  with_torch_errors(
      [&] {
        const auto counter = std::make_shared<AllocationCounter>();
        const c10::DebugInfoGuard counting(c10::DebugInfoKind::PROFILER_STATE, counter);
        LiveValues values = network.start(at::zeros(shape));
        const auto measure = [&](const auto& run) {
          StepBytes bytes{.before = counter->live()};
          static_cast<void>(counter->take_peak());
          [[maybe_unused]] const auto held = run();  // until the memory is read
          bytes.peak = counter->take_peak();
          bytes.after = counter->live();
          steps.push_back(bytes);
        };
        for (; step < network.step_count(); ++step) {
          for (const std::size_t layer : network.first_uses(step))
            if (network.layers()[layer].obstacle.empty())
              measure([&] { return network.layer_inputs(layer, values); });
          measure([&] { return network.run_step(step, values), 0; });
        }
      },
      [&] { return network.describe_step(step) + ", while the network ran on an image of zeros"; });
  at::set_num_threads(threads_before);
  return steps;
}

}  // namespace

std::int64_t frontier_bytes_per_image(const Network& network, std::span<const std::int64_t> image_shape) {
  std::int64_t largest = 0;
  for (const StepBytes& step : trace_steps(network, image_shape, 1)) {
    largest = std::max({largest, step.before, step.after});
  }
  return largest;
}

WalkMemory predict_walk_memory(const Network& network, std::span<const std::int64_t> image_shape,
                               std::int64_t images, std::int64_t micro_batch, int threads) {
  if (images <= 0) return {};
  const std::int64_t batch = std::min(images, micro_batch);
  const double micro_batches = static_cast<double>(images) / static_cast<double>(batch);
  const double in_flight = std::min(static_cast<double>(threads), micro_batches);
  WalkMemory memory;
  for (const StepBytes& step : trace_steps(network, image_shape, batch)) {
    // A step starts with `before` for all micro-batches and ends with `after`;
    // those in flight have `peak` instead. The sum is linear in between, so one
    // of the ends is the largest.
    for (const std::int64_t resting : {step.before, step.after}) {
      const WalkMemory here{
          .frontier_bytes = static_cast<std::int64_t>(micro_batches * static_cast<double>(resting)),
          .workspace_bytes = static_cast<std::int64_t>(in_flight * static_cast<double>(step.peak - resting))};
      if (here.bytes() > memory.bytes()) memory = here;
    }
  }
  return memory;
}

}  // namespace bitfall
