#pragma once
/// The device on which tests of kernels run; `seed` gives the order of blocks and threads. tests/gpu has the
/// other one.
#include "emulation/grid.hpp"

namespace bitfall {

[[nodiscard]] inline cuda::Device kernel_device(std::uint64_t seed) {
  emulation::grid().set_seed(seed);
  return {0, 0};
}

}  // namespace bitfall
