#pragma once
/// What kernels are written with, for nvcc. tests/emulation/device_code.hpp is the same for the host
/// compiler, and the include path chooses: a kernel's source has no #ifdef.
#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/device.hpp"

namespace bitfall::cuda {

/// An array in shared memory. Emulated, every access to it is checked for races and bounds.
template <class T>
using SharedArray = T*;

/// `count` values from `first_byte` of the block's dynamic shared memory on, a multiple of 16 for vectors.
template <class T>
__device__ __forceinline__ SharedArray<T> shared_array(unsigned first_byte, unsigned /*count*/) {
  extern __shared__ __align__(16) unsigned char shared_bytes[];
  return reinterpret_cast<T*>(shared_bytes + first_byte);
}

/// Atomic additions. Signed integers wrap as unsigned ones do: the bits are the same.
__device__ __forceinline__ void shared_add(SharedArray<std::int64_t> array, unsigned index,
                                           std::int64_t value) {
  atomicAdd(reinterpret_cast<unsigned long long*>(array + index), static_cast<unsigned long long>(value));
}
__device__ __forceinline__ void global_add(std::int64_t* target, std::int64_t value) {
  atomicAdd(reinterpret_cast<unsigned long long*>(target), static_cast<unsigned long long>(value));
}

/// Starts kernel<<<...>>>(arguments...) on the device's stream; `name` is for messages.
template <class... Parameters, class... Arguments>
void launch(const Device& device, const char* name, const LaunchShape& shape, void (*kernel)(Parameters...),
            Arguments... arguments) {
  constexpr std::int64_t without_asking = 48 << 10;
  if (shape.shared_bytes > without_asking) {
    device.check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                      cudaFuncAttributeMaxDynamicSharedMemorySize,
                                      static_cast<int>(shape.shared_bytes)),
                 name);
  }
  const dim3 grid(static_cast<unsigned>(shape.blocks), static_cast<unsigned>(shape.batches));
  kernel<<<grid, static_cast<unsigned>(shape.threads), static_cast<std::size_t>(shape.shared_bytes),
           device.stream()>>>(static_cast<Parameters>(arguments)...);
  device.check(cudaGetLastError(), name);
}

}  // namespace bitfall::cuda
