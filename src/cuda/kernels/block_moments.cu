#include "cuda/kernels/block_moments.hpp"

#include "cuda/kernels/window_value.hpp"
#include "device_code.hpp"

namespace bitfall::cuda {
namespace {

constexpr int block_threads = 256;
/// Values of a tile in shared memory, and positions of it at most.
constexpr int tile_values = 8192, tile_positions = 256;
// register budget: block_moments_kernel<> 64
// register budget: window_moments_kernel<4,1> 64
// register budget: window_moments_kernel<8,1> 96
// register budget: window_moments_kernel<9,3> 128
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

/// The same for whole `width` x `width` windows of few columns: a thread keeps all pairs of its positions in
/// registers and reads each value once. A block of threads has `lanes` of them for each of 256 / lanes groups
/// of columns.
template <int d, int width>
__global__ void __launch_bounds__(block_threads) window_moments_kernel(BlockMomentsArguments a, int lanes) {
  constexpr int pairs = d * (d + 1) / 2, taps = width * width;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % lanes,
            groups_of_block = block_threads / lanes;
  const int blocks = static_cast<int>(a.window.columns() / d);
  const int pieces = (blocks + groups_of_block - 1) / groups_of_block;
  const std::int64_t unit = blockIdx.x / pieces;
  const int first_block = static_cast<int>(blockIdx.x % pieces) * groups_of_block;
  const int j = first_block + thread / lanes;
  float part[pairs];
#pragma unroll
  for (int i = 0; i < pairs; ++i) part[i] = 0;
  if (j < blocks) {
    const float* group = a.window.values + unit / a.groups * a.window.image_stride +
                         unit % a.groups * a.window.group_stride +
                         static_cast<std::int64_t>(j) * (d / taps) * a.window.channel_stride;
    const int positions = static_cast<int>(a.window.positions());
    for (int position = lane; position < positions; position += lanes) {
      const WindowStart start = window_start(a.window, position);
      float x[d];
#pragma unroll
      for (int r = 0; r < d; ++r) {
        const int line = start.line + r % taps / width * static_cast<int>(a.window.dilation[0]);
        const int value = start.value + r % width * static_cast<int>(a.window.dilation[1]);
        const bool inside = line >= 0 && line < a.window.input[0] && value >= 0 && value < a.window.input[1];
        x[r] = inside ? group[r / taps * a.window.channel_stride + line * a.window.line_stride +
                              value * a.window.value_stride]
                      : 0;
      }
      int i = 0;
      // part += x_a x_b
#pragma unroll
      for (int p = 0; p < d; ++p)
#pragma unroll
        for (int q = p; q < d; ++q, ++i) part[i] = fmaf(x[p], x[q], part[i]);
    }
  }
  // Rows of a pair begin in different banks.
  constexpr unsigned pitch = block_threads + 1, parts_bytes = (pairs * pitch * 4 + 15) / 16 * 16;
  const SharedArray<float> parts = shared_array<float>(0, pairs * pitch);
#pragma unroll
  for (int i = 0; i < pairs; ++i)
    parts[static_cast<unsigned>(i) * pitch + static_cast<unsigned>(thread)] = part[i];
  __syncthreads();
  // Sums of every `segments`-th lane, then of those: always in this order.
  const int sums_of_block = pairs * groups_of_block,
            segments = max(1, min(lanes, block_threads / sums_of_block));
  const SharedArray<double> sums =
      shared_array<double>(parts_bytes, static_cast<unsigned>(sums_of_block * segments));
  for (int i = thread; i < sums_of_block * segments; i += block_threads) {
    const int which = i / segments, pair = which % pairs, from = which / pairs * lanes;
    double sum = 0;
    for (int other = i % segments; other < lanes; other += segments)
      sum += static_cast<double>(
          parts[static_cast<unsigned>(pair) * pitch + static_cast<unsigned>(from + other)]);
    sums[static_cast<unsigned>(i)] = sum;
  }
  __syncthreads();
  for (int i = thread; i < sums_of_block; i += block_threads) {
    if (first_block + i / pairs >= blocks) continue;
    double sum = 0;
    for (int segment = 0; segment < segments; ++segment)
      sum += sums[static_cast<unsigned>(i * segments + segment)];
    a.partial[(unit * blocks + first_block) * pairs + i] = sum;
  }
}

template <int d, int width>
void window_moments(const BlockMomentsArguments& a, const Device& device) {
  constexpr int pairs = d * (d + 1) / 2;
  int lanes = block_threads;
  while (lanes > 32 && lanes / 2 >= a.window.positions()) lanes /= 2;
  const int groups_of_block = block_threads / lanes, sums_of_block = pairs * groups_of_block;
  const int segments = max(1, min(lanes, block_threads / sums_of_block));
  const std::int64_t pieces = (a.window.columns() / d + groups_of_block - 1) / groups_of_block;
  const std::int64_t bytes = (pairs * (block_threads + 1) * 4 + 15) / 16 * 16 + sums_of_block * segments * 8;
  launch(device, "kernel window_moments", LaunchShape{a.images * a.groups * pieces, 1, block_threads, bytes},
         window_moments_kernel<d, width>, a, lanes);
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
  // Beyond that many positions a thread would add more than 256 of them in floats.
  const bool few = a.window.positions() <= 256 * block_threads;
  const bool is_point = few && a.window.kernel[0] == 1 && a.window.kernel[1] == 1;
  const bool is_square = few && a.window.kernel[0] == 3 && a.window.kernel[1] == 3;
  if (units > 0 && a.window.positions() > 0) {
    if (is_point && a.d == 4)
      window_moments<4, 1>(a, device);
    else if (is_point && a.d == 8)
      window_moments<8, 1>(a, device);
    else if (is_square && a.d == 9)
      window_moments<9, 3>(a, device);
    else
      launch(device, "kernel block_moments",
             LaunchShape{units * blocks * shares.chunks, 1, block_threads, bytes}, block_moments_kernel, a);
  }
  launch(device, "kernel sum_images",
         LaunchShape{(values + block_threads - 1) / block_threads, 1, block_threads, 0}, sum_images_kernel,
         a.partial, a.window.positions() > 0 ? units : 0, values, a.triangles);
}

}  // namespace bitfall::cuda
