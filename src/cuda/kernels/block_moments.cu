#include "cuda/kernels/block_moments.hpp"

#include "cuda/kernels/window_value.hpp"
#include "device_code.hpp"

namespace bitfall::cuda {
namespace {

constexpr int block_threads = 256;
/// Values of a tile in shared memory, and positions of it at most.
constexpr int tile_values = 8192, tile_positions = 256;
// register budget: block_moments_kernel<> 64
// register budget: sum_images_kernel<> 32

/// How a block of threads shares its work: `pairs` products of columns in each of `slices` of a tile's
/// positions, one thread each.
struct Shares {
  int pairs, chunks, in_chunk, slices, tile, pitch;
  explicit __host__ __device__ Shares(std::int64_t d)
      : pairs(static_cast<int>(d * (d + 1) / 2)),
        chunks((pairs + block_threads - 1) / block_threads),
        in_chunk((pairs + chunks - 1) / chunks),
        slices(block_threads / in_chunk),
        tile(static_cast<int>(max(std::int64_t{1}, min(std::int64_t{tile_positions}, tile_values / d)))),
        pitch(tile + 1) {}  // rows of a tile begin in different banks
};

/// The pair (a, b), a <= b < d, at place `pair` of the triangle.
struct Pair {
  int a, b;
};
__device__ __forceinline__ Pair pair_at(int pair, int d) {
  int a = 0;
  for (int length = d; pair >= length; --length, ++a) pair -= length;
  return {a, a + pair};
}

/// One image of one group, one group of d columns, one chunk of its pairs.
__global__ void __launch_bounds__(block_threads) block_moments_kernel(BlockMomentsArguments a) {
  const int d = static_cast<int>(a.d), thread = static_cast<int>(threadIdx.x);
  const Shares shares(a.d);
  const int blocks = static_cast<int>(a.window.columns() / a.d);
  const std::int64_t index = blockIdx.x;
  const int chunk = static_cast<int>(index % shares.chunks);
  const int j = static_cast<int>(index / shares.chunks % blocks);
  const std::int64_t unit = index / shares.chunks / blocks;
  const float* group =
      a.window.values + unit / a.groups * a.window.image_stride + unit % a.groups * a.window.group_stride;
  const int slice = thread / shares.in_chunk;
  const int place = chunk * shares.in_chunk + thread % shares.in_chunk;
  const bool works = slice < shares.slices && place < shares.pairs;
  const Pair pair = works ? pair_at(place, d) : Pair{0, 0};
  const unsigned tile_end = static_cast<unsigned>(d * shares.pitch);
  const SharedArray<float> tile = shared_array<float>(0, tile_end);
  const SharedArray<double> sums = shared_array<double>((tile_end * 4 + 15) / 16 * 16, block_threads);
  const int positions = static_cast<int>(a.window.positions());
  double sum = 0;
  for (int first = 0; first < positions; first += shares.tile) {
    const int count = min(shares.tile, positions - first);
    if (first > 0) __syncthreads();
    for (int i = thread; i < d * shares.tile; i += block_threads) {
      const int row = i / shares.tile, position = i - row * shares.tile;
      if (position < count)
        tile[static_cast<unsigned>(row * shares.pitch + position)] =
            window_value(a.window, group, window_start(a.window, first + position), j * d + row);
    }
    __syncthreads();
    if (works) {
      const unsigned left = static_cast<unsigned>(pair.a * shares.pitch),
                     right = static_cast<unsigned>(pair.b * shares.pitch);
      const unsigned length = static_cast<unsigned>((shares.tile + shares.slices - 1) / shares.slices);
      const unsigned begin = static_cast<unsigned>(slice) * length;
      const unsigned end = min(begin + length, static_cast<unsigned>(count));
      float part = 0;
      // part += x_a x_b
      for (unsigned position = begin; position < end; ++position)
        part = fmaf(tile[left + position], tile[right + position], part);
      sum += static_cast<double>(part);
    }
  }
  sums[threadIdx.x] = sum;
  __syncthreads();
  if (thread >= shares.in_chunk || place >= shares.pairs) return;
  for (int other = 1; other < shares.slices; ++other)
    sum += sums[static_cast<unsigned>(other * shares.in_chunk + thread)];
  a.partial[(unit * blocks + j) * shares.pairs + place] = sum;
}

__global__ void __launch_bounds__(block_threads)
    sum_images_kernel(const double* partial, std::int64_t units, std::int64_t values, double* sums) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * block_threads + threadIdx.x;
  if (i >= values) return;
  double sum = 0;
  for (std::int64_t unit = 0; unit < units; ++unit) sum += partial[unit * values + i];
  sums[i] = sum;
}

}  // namespace

void block_moments(const BlockMomentsArguments& a, const Device& device) {
  const Shares shares(a.d);
  const std::int64_t units = a.images * a.groups, blocks = a.window.columns() / a.d;
  const std::int64_t values = blocks * shares.pairs;
  const std::int64_t bytes = (a.d * shares.pitch * 4 + 15) / 16 * 16 + block_threads * 8;
  if (units > 0 && a.window.positions() > 0)
    launch(device, "kernel block_moments",
           LaunchShape{units * blocks * shares.chunks, 1, block_threads, bytes}, block_moments_kernel, a);
  launch(device, "kernel sum_images",
         LaunchShape{(values + block_threads - 1) / block_threads, 1, block_threads, 0}, sum_images_kernel,
         a.partial, a.window.positions() > 0 ? units : 0, values, a.triangles);
}

}  // namespace bitfall::cuda
