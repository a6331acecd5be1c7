#pragma once
/// Where tests/unit/device runs networks: on this machine's first device.
#include <stdexcept>
#include <string>

#include "cuda/device.hpp"

namespace bitfall::test {

inline std::string network_device() {
  static const std::string obstacle = cuda::network_obstacle();
  if (!obstacle.empty()) throw std::runtime_error(obstacle);
  return cuda::network_device(0);
}
/// How far results may be from the host's, relative to their magnitude: sums have another order.
inline constexpr double tolerance = 2e-5;

}  // namespace bitfall::test
