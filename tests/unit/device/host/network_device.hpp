#pragma once
/// Where the tests of this folder run networks: on copies of their tensors that the host has too, with
/// kernels on the emulated device. tests/gpu has another header of this name, so that the same tests run on a
/// real one.
#include <string>

#include "cuda/cuda_array_work.hpp"

namespace bitfall::test {

inline std::string network_device() {
  return "cpu";
}
inline const ArrayWork& network_arrays() {
  static const cuda::CudaArrayWork arrays(0, 0);
  return arrays;
}
/// How far moments may be from the host's, relative to their magnitude: sums have another order.
inline constexpr double tolerance = 2e-6;

}  // namespace bitfall::test
