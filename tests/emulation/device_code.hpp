#pragma once
/// Tests only: what kernels are written with, for the host compiler. src/cuda/nvcc/device_code.hpp is the
/// same for nvcc; the include path chooses. Blocks run one after another in random order, their threads as
/// fibers (fibers.hpp).
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "cuda/device.hpp"
#include "emulation/grid.hpp"

// NOLINTBEGIN: the names are CUDA's
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define threadIdx (::bitfall::emulation::grid().thread_index())
#define blockIdx (::bitfall::emulation::grid().block_index)
#define blockDim (::bitfall::emulation::grid().block_size)
#define gridDim (::bitfall::emulation::grid().grid_size)

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
inline float4 make_float4(float x, float y, float z, float w) {
  return {x, y, z, w};
}
inline int4 make_int4(int x, int y, int z, int w) {
  return {x, y, z, w};
}

inline void __syncthreads() {
  bitfall::emulation::grid().block.wait_for_block();
}
inline void __syncwarp(unsigned mask = ~0u) {
  bitfall::emulation::grid().block.wait_for_warp(mask, "__syncwarp");
}

namespace bitfall::emulation {
template <class T>
T exchange(unsigned mask, T value, unsigned source, const char* name) {
  static_assert(sizeof(T) <= sizeof(std::uint64_t));
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = grid().block.exchange(mask, bits, source, name);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}
}  // namespace bitfall::emulation

template <class T>
T __shfl_sync(unsigned mask, T value, int source) {
  return bitfall::emulation::exchange(mask, value, static_cast<unsigned>(source) % 32u, "__shfl_sync");
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits) {
  const unsigned source = bitfall::emulation::grid().block.lane() ^ static_cast<unsigned>(bits);
  return bitfall::emulation::exchange(mask, value, source, "__shfl_xor_sync");
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance) {
  const unsigned source = bitfall::emulation::grid().block.lane() + distance;
  return bitfall::emulation::exchange(mask, value, source, "__shfl_down_sync");
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  unsigned votes = 0;
  for (unsigned lane = 0; lane < 32; ++lane)
    if ((mask >> lane & 1u) != 0)
      votes |= bitfall::emulation::exchange(mask, predicate != 0 ? 1u : 0u, lane, "__ballot_sync") << lane;
  return votes;
}
inline int __any_sync(unsigned mask, int predicate) {
  return __ballot_sync(mask, predicate) != 0;
}
inline int __popc(unsigned bits) {
  return std::popcount(bits);
}
inline int __ffs(int bits) {
  return bits == 0 ? 0 : std::countr_zero(static_cast<unsigned>(bits)) + 1;
}
template <class T>
T __ldg(const T* source) {
  return *source;
}
/// round-half-even, as the device's
inline long long __double2ll_rn(double value) {
  return std::llrint(value);
}
using std::fma;
using std::fmaf;
using std::max;
using std::min;
using std::sqrt;
// NOLINTEND

namespace bitfall::cuda {

template <class T>
using SharedArray = emulation::SharedArray<T>;

template <class T>
SharedArray<T> shared_array(unsigned first_byte, unsigned count) {
  return {emulation::grid().shared, first_byte, count};
}
template <class T>
void shared_add(const SharedArray<T>& array, unsigned index, T value) {
  array[index].add_atomically(value);
}
inline void global_add(std::int64_t* target, std::int64_t value) {
  *target += value;
}

template <class... Parameters, class... Arguments>
void launch(const Device& device, const char* name, const LaunchShape& shape, void (*kernel)(Parameters...),
            Arguments... arguments) {
  device.check(emulation::call_status(name, device.rank()), name);
  if (shape.shared_bytes > device.shared_bytes())
    throw emulation::KernelError("more shared memory than there is");
  emulation::grid().run(shape, [&] { kernel(static_cast<Parameters>(arguments)...); });
}

}  // namespace bitfall::cuda
