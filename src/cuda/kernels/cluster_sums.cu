#include "cuda/kernels/cluster_sums.hpp"
#include "device_code.hpp"

namespace bitfall::cuda {
namespace {

constexpr int block_threads = 256;
constexpr int points_per_thread = 4;
// register budget: cluster_sums_kernel<*> 64

/// Adds over the lanes of a warp; lane 0 has the sum.
__device__ __forceinline__ std::int64_t warp_sum(std::int64_t value) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2)
    value += static_cast<std::int64_t>(__shfl_down_sync(0xffffffffu, static_cast<long long>(value), lanes));
  return value;
}

__device__ __forceinline__ std::int64_t to_integer(float value, double scale) {
  return static_cast<std::int64_t>(__double2ll_rn(static_cast<double>(value) * scale));
}

/// Sums of a block in its shared memory, or straight in global memory where they do not fit.
template <bool in_shared_memory>
__global__ void __launch_bounds__(block_threads, 4) cluster_sums_kernel(ClusterSumsArguments a) {
  const unsigned cells = static_cast<unsigned>(a.k * (a.d + 1));
  const SharedArray<std::int64_t> own = shared_array<std::int64_t>(0, in_shared_memory ? cells : 0);
  if constexpr (in_shared_memory) {
    for (unsigned i = threadIdx.x; i < cells; i += block_threads) own[i] = 0;
    __syncthreads();
  }
  const auto add = [&](std::int64_t cell, std::int64_t value) {
    if constexpr (in_shared_memory)
      shared_add(own, static_cast<unsigned>(cell), value);
    else
      global_add(a.sums + cell, value);
  };
  std::int64_t objective = 0, moved = 0;
  const std::int64_t quads = (a.points + points_per_thread - 1) / points_per_thread;
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * block_threads;
  for (std::int64_t quad = static_cast<std::int64_t>(blockIdx.x) * block_threads + threadIdx.x; quad < quads;
       quad += step) {
    // 16 bytes each; padding lies behind the last points
    const int4 codes = reinterpret_cast<const int4*>(a.codes)[quad];
    const int4 before = reinterpret_cast<const int4*>(a.previous)[quad];
    const float4 errors = reinterpret_cast<const float4*>(a.errors)[quad];
    const int to[points_per_thread] = {codes.x, codes.y, codes.z, codes.w};
    const int from[points_per_thread] = {before.x, before.y, before.z, before.w};
    const float error[points_per_thread] = {errors.x, errors.y, errors.z, errors.w};
    bool changed = false;
#pragma unroll
    for (int p = 0; p < points_per_thread; ++p) {
      const std::int64_t point = quad * points_per_thread + p;
      if (point >= a.points) continue;
      objective += to_integer(error[p], a.error_scale);
      if (to[p] == from[p]) continue;
      changed = true;
      ++moved;
      const std::int64_t gains = to[p] * (a.d + 1), loses = from[p] * (a.d + 1);
      for (std::int64_t j = 0; j < a.d; ++j) {
        const std::int64_t value = to_integer(a.blocks[point * a.d + j], a.coordinate_scale);
        add(gains + j, value);
        if (from[p] >= 0) add(loses + j, -value);
      }
      add(gains + a.d, 1);
      if (from[p] >= 0) add(loses + a.d, -1);
    }
    if (changed) reinterpret_cast<int4*>(a.previous)[quad] = codes;
  }
  objective = warp_sum(objective);
  moved = warp_sum(moved);
  if (threadIdx.x % 32 == 0) {
    global_add(a.totals, objective);
    global_add(a.totals + 1, moved);
  }
  if constexpr (in_shared_memory) {
    __syncthreads();
    for (unsigned i = threadIdx.x; i < cells; i += block_threads) {
      const std::int64_t value = own[i];
      if (value != 0) global_add(a.sums + i, value);
    }
  }
}

}  // namespace

void update_cluster_sums(const ClusterSumsArguments& a, const Device& device) {
  if (a.points == 0) return;
  const std::int64_t quads = (a.points + points_per_thread - 1) / points_per_thread;
  const std::int64_t blocks =
      min((quads + block_threads - 1) / block_threads, std::int64_t{2} * device.multiprocessors());
  const std::int64_t bytes = a.k * (a.d + 1) * std::int64_t{sizeof(std::int64_t)};
  // Two blocks on a multiprocessor hide each other's latency.
  if (bytes <= device.shared_bytes() / 2)
    launch(device, "kernel cluster_sums", LaunchShape{blocks, 1, block_threads, bytes},
           cluster_sums_kernel<true>, a);
  else
    launch(device, "kernel cluster_sums", LaunchShape{blocks, 1, block_threads, 0},
           cluster_sums_kernel<false>, a);
}

}  // namespace bitfall::cuda
