// The emulation itself: faults that a test of a kernel must notice, each in a kernel of a few lines.
#include <numeric>
#include <vector>

#include "catch.hpp"
#include "device_code.hpp"

using namespace bitfall;
using namespace bitfall::cuda;
using emulation::KernelError;

namespace {

/// Neighbours swap values through shared memory, with the barrier or without it.
template <bool barrier>
void swap_kernel(int* values) {
  const auto shared = shared_array<int>(0, blockDim.x);
  shared[threadIdx.x] = values[threadIdx.x];
  if constexpr (barrier) __syncthreads();
  values[threadIdx.x] = shared[threadIdx.x ^ 1u];
}

/// Half of the threads come to the barrier.
void divergent_kernel() {
  if (threadIdx.x < 16)
    __syncthreads();
  else
    __syncwarp(0xffff0000u);
  __shfl_xor_sync(0xffffffffu, 1, 16);
}

void out_of_bounds_kernel() {
  shared_array<int>(0, 4)[threadIdx.x] = 1;
}
void too_much_kernel() {
  shared_array<int>(0, 1000)[0] = 1;
}
void unwritten_kernel(int* out) {
  out[threadIdx.x] = shared_array<int>(0, blockDim.x)[threadIdx.x];
}
void outside_mask_kernel(int* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_xor_sync(0x0000ffffu, 1, 16);
}
void not_atomic_kernel() {
  const auto sum = shared_array<int>(0, 1);
  if (threadIdx.x == 0) sum[0] = 0;
  __syncthreads();
  sum[0] += 1;
}
void atomic_kernel(int* out) {
  const auto sum = shared_array<int>(0, 1);
  if (threadIdx.x == 0) sum[0] = 0;
  __syncthreads();
  shared_add(sum, 0, static_cast<int>(threadIdx.x));
  __syncthreads();
  if (threadIdx.x == 0) out[blockIdx.x] = sum[0];
}
/// sum of the lanes' numbers by halves, votes, and a value from lane 3
void warp_kernel(int* out) {
  int sum = static_cast<int>(threadIdx.x);
  for (int lanes = 16; lanes > 0; lanes /= 2)
    sum += __shfl_down_sync(0xffffffffu, sum, static_cast<unsigned>(lanes));
  const unsigned odd = __ballot_sync(0xffffffffu, static_cast<int>(threadIdx.x & 1u));
  const int third = __shfl_sync(0xffffffffu, static_cast<int>(threadIdx.x), 3);
  if (threadIdx.x == 0) {
    out[0] = sum;
    out[1] = static_cast<int>(odd);
    out[2] = third;
  }
}
/// Every thread notes when its turn came.
void order_kernel(int* turns, int* next) {
  turns[blockIdx.x * blockDim.x + threadIdx.x] = (*next)++;
}

template <class... P, class... A>
void run(std::int64_t shared_bytes, int threads, void (*kernel)(P...), A... arguments) {
  const Device device(0, 0);
  launch(device, "kernel", LaunchShape{1, 1, threads, shared_bytes}, kernel, arguments...);
}

}  // namespace

TEST_CASE("a barrier orders accesses to shared memory, and its absence is a race") {
  std::vector<int> values(64);
  std::iota(values.begin(), values.end(), 0);
  run(256, 64, swap_kernel<true>, values.data());
  for (int i = 0; i < 64; ++i) CHECK(values[static_cast<std::size_t>(i)] == (i ^ 1));
  CHECK_THROWS_AS(run(256, 64, swap_kernel<false>, values.data()), KernelError);
}

TEST_CASE("shared memory refuses bounds, undefined values and additions that are not atomic") {
  std::vector<int> out(64, -1);
  CHECK_THROWS_AS(run(16, 32, out_of_bounds_kernel), KernelError);
  CHECK_THROWS_AS(run(16, 32, too_much_kernel), KernelError);
  CHECK_THROWS_AS(run(256, 64, unwritten_kernel, out.data()), KernelError);
  CHECK_THROWS_AS(run(16, 64, not_atomic_kernel), KernelError);
  run(16, 64, atomic_kernel, out.data());
  CHECK(out[0] == 63 * 64 / 2);
}

TEST_CASE("exchanges within a warp, and masks and barriers that not all threads come to") {
  std::vector<int> out(64, -1);
  run(0, 32, warp_kernel, out.data());
  CHECK(out[0] == 31 * 32 / 2);
  CHECK(static_cast<unsigned>(out[1]) == 0xaaaaaaaau);
  CHECK(out[2] == 3);
  CHECK_THROWS_AS(run(0, 32, outside_mask_kernel, out.data()), KernelError);
  CHECK_THROWS_AS(run(0, 32, divergent_kernel), KernelError);
}

TEST_CASE("threads and blocks come in another order under another seed") {
  const Device device(0, 0);
  std::vector<std::vector<int>> orders;
  for (const std::uint64_t seed : {1u, 2u}) {
    emulation::grid().set_seed(seed);
    int next = 0;
    std::vector<int> turns(4 * 64, -1);
    launch(device, "kernel", LaunchShape{4, 1, 64, 0}, order_kernel, turns.data(), &next);
    orders.push_back(turns);
    std::ranges::sort(turns);
    for (int i = 0; i < 4 * 64; ++i) CHECK(turns[static_cast<std::size_t>(i)] == i);  // each thread once
  }
  CHECK(orders[0] != orders[1]);
}
