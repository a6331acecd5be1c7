#pragma once
/// Where tests/unit/device runs networks: on this machine's first device.
#include <stdexcept>
#include <string>

#include "cuda/cuda_array_work.hpp"

namespace bitfall::test {

/// Before main: LibTorch looks once for its part for CUDA, at the first tensor that could want it.
inline const std::string obstacle = cuda::network_obstacle();

inline std::string network_device() {
  if (!obstacle.empty()) throw std::runtime_error(obstacle);
  return cuda::network_device(0);
}
inline const ArrayWork& network_arrays() {
  static const cuda::CudaArrayWork arrays(0, 0);
  return arrays;
}
/// How far results may be from the host's, relative to their magnitude: sums have another order.
inline constexpr double tolerance = 2e-5;

}  // namespace bitfall::test
