#pragma once
/// How long work on a device takes.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <array>

#include "cuda/device.hpp"

namespace bitfall {

/// Median of nine runs after a first one, each `work` between two events on the stream.
template <class Work>
double microseconds(const cuda::Device& device, const Work& work) {
  cudaEvent_t begin{}, end{};
  device.check(cudaEventCreate(&begin), "cudaEventCreate");
  device.check(cudaEventCreate(&end), "cudaEventCreate");
  std::array<float, 10> milliseconds{};
  for (float& time : milliseconds) {
    device.check(cudaEventRecord(begin, device.stream()), "cudaEventRecord");
    work();
    device.check(cudaEventRecord(end, device.stream()), "cudaEventRecord");
    device.check(cudaEventSynchronize(end), "cudaEventSynchronize");
    device.check(cudaEventElapsedTime(&time, begin, end), "cudaEventElapsedTime");
  }
  std::sort(milliseconds.begin() + 1, milliseconds.end());
  return 1e3 * double(milliseconds[5]);
}

}  // namespace bitfall
