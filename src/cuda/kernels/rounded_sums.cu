#include "cuda/kernels/rounded_sums.hpp"

#include "device_code.hpp"

namespace bitfall::cuda {
namespace {

constexpr int block_threads = 256;
// register budget: add_rounded_kernel<> 32
// register budget: add_rounded_lower_kernel<> 32

__device__ __forceinline__ std::int64_t rounded(float value, double factor) {
  return static_cast<std::int64_t>(__double2ll_rn(static_cast<double>(value) * factor));
}

__global__ void __launch_bounds__(block_threads)
    add_rounded_kernel(const float* product, std::int64_t count, double factor, std::int64_t* sums) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * block_threads + threadIdx.x;
  if (i < count) sums[i] += rounded(product[i], factor);
}

/// A block of threads for each row of the triangle.
__global__ void __launch_bounds__(block_threads)
    add_rounded_lower_kernel(const float* product, std::int64_t columns, double factor, std::int64_t* lower) {
  const std::int64_t row = blockIdx.x;
  const float* values = product + row * columns;
  std::int64_t* sums = lower + row * (row + 1) / 2;
  for (std::int64_t b = threadIdx.x; b <= row; b += block_threads) sums[b] += rounded(values[b], factor);
}

}  // namespace

void add_rounded(const float* product, std::int64_t count, double factor, std::int64_t* sums,
                 const Device& device) {
  if (count == 0) return;
  launch(device, "kernel add_rounded",
         LaunchShape{(count + block_threads - 1) / block_threads, 1, block_threads, 0}, add_rounded_kernel,
         product, count, factor, sums);
}

void add_rounded_lower(const float* product, std::int64_t columns, double factor, std::int64_t* lower,
                       const Device& device) {
  if (columns == 0) return;
  launch(device, "kernel add_rounded_lower", LaunchShape{columns, 1, block_threads, 0},
         add_rounded_lower_kernel, product, columns, factor, lower);
}

}  // namespace bitfall::cuda
