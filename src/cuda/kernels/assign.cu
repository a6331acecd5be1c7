#include <cfloat>

#include "cuda/kernels/assign.hpp"
#include "device_code.hpp"

namespace bitfall::cuda {
namespace {

constexpr int block_threads = 128;
constexpr int points_per_thread = 4;
/// Blocks that a multiprocessor holds at least: the compiler may take 65536 / (128 * blocks) registers a
/// thread. What it takes at most is checked (tests/unit/cuda/test_static_evidence.py):
// register budget: assign_kernel<4,*> 64
// register budget: assign_kernel<8,*> 96
// register budget: assign_kernel<9,*> 96
// register budget: assign_kernel<16,*> 128
// register budget: assign_kernel<18,*> 128
// register budget: assign_any_kernel<*> 80
constexpr int blocks_of(int d) {
  return d <= 4 ? 8 : d <= 9 ? 5 : 4;
}
/// Of the codeword table in shared memory at a time: three blocks and more fit a multiprocessor of 100 KiB.
constexpr std::int64_t chunk_bytes = 32 << 10;

/// Best score and codeword of a thread's four points.
struct Best {
  float score[points_per_thread];
  int index[points_per_thread];

  __device__ __forceinline__ Best() {
#pragma unroll
    for (int p = 0; p < points_per_thread; ++p) {
      score[p] = FLT_MAX;
      index[p] = 0;
    }
  }
  __device__ __forceinline__ void offer(int p, float candidate, int codeword) {
    if (candidate < score[p]) {
      score[p] = candidate;
      index[p] = codeword;
    }
  }
  /// The better of two lanes, `lanes` being 1, 2, 4 ... apart: ties to the lowest index.
  __device__ __forceinline__ void merge(int lanes) {
#pragma unroll
    for (int p = 0; p < points_per_thread; ++p) {
      const float other_score = __shfl_xor_sync(0xffffffffu, score[p], lanes);
      const int other_index = __shfl_xor_sync(0xffffffffu, index[p], lanes);
      if (other_score < score[p] || (other_score == score[p] && other_index < index[p])) {
        score[p] = other_score;
        index[p] = other_index;
      }
    }
  }
};

/// Where a thread finds coordinate 0 of its points 4 q ... 4 q + 3; coordinate j lies 16 j floats further.
__device__ __forceinline__ const float* quad_start(const float* tiles, std::int64_t quad, std::int64_t d) {
  return tiles + (quad / 4 * d * device_tile_points + quad % 4 * points_per_thread);
}
__device__ __forceinline__ void load_coordinates(const float* address, float (&v)[points_per_thread]) {
  const float4 four = *reinterpret_cast<const float4*>(address);  // 16 bytes
  v[0] = four.x;
  v[1] = four.y;
  v[2] = four.z;
  v[3] = four.w;
}

/// Writes codes, and errors formed from the coordinates read again: `quad` belongs to this thread alone.
__device__ __forceinline__ void finish(const AssignArguments& a, std::int64_t batch, std::int64_t quad,
                                       std::int64_t d, const Best& best) {
  const std::int64_t stride = table_stride(d);
  const float* table = a.table + batch * a.codewords * stride;
  const float* start = quad_start(a.tiles + batch * a.points * d, quad, d);
  float error[points_per_thread] = {0, 0, 0, 0};
  for (std::int64_t j = 0; j < d; ++j) {
    float v[points_per_thread];
    load_coordinates(start + j * device_tile_points, v);
#pragma unroll
    for (int p = 0; p < points_per_thread; ++p) {
      const float difference = v[p] - __ldg(table + best.index[p] * stride + 1 + j);
      error[p] = fmaf(difference, difference, error[p]);
    }
  }
  const std::int64_t first = batch * a.points + quad * points_per_thread;
  *reinterpret_cast<int4*>(a.codes + first) =
      make_int4(best.index[0], best.index[1], best.index[2], best.index[3]);
  *reinterpret_cast<float4*>(a.errors + first) = make_float4(error[0], error[1], error[2], error[3]);
}

/// Known d: points in registers, codewords in shared memory. S neighbouring lanes share four points and have
/// every S-th codeword each, so that small layers fill the device too. Registers: 4 d for the points, and
/// some 40. Each 16-byte read of shared memory (one address a warp for S = 1, S addresses without a bank
/// conflict for odd strides) feeds 12 to 16 fused multiply-adds.
template <int D, int S>
__global__ void __launch_bounds__(block_threads, blocks_of(D))
    assign_kernel(AssignArguments a, int chunk_rows) {
  constexpr int vectors = static_cast<int>(table_stride(D) / 4);
  const std::int64_t batch = blockIdx.y;
  const std::int64_t quad = (static_cast<std::int64_t>(blockIdx.x) * block_threads + threadIdx.x) / S;
  const bool inside = quad * points_per_thread < a.points;
  const int lane = static_cast<int>(threadIdx.x % S);
  const SharedArray<float4> rows = shared_array<float4>(0, chunk_rows * vectors);
  const float4* table = reinterpret_cast<const float4*>(a.table) + batch * a.codewords * vectors;
  // Threads without points work on the last ones, and write nothing: all must come to the barriers.
  const std::int64_t readable = inside ? quad : a.points / points_per_thread - 1;
  const float* start = quad_start(a.tiles + batch * a.points * D, readable, D);
  float v[D][points_per_thread];
#pragma unroll
  for (int j = 0; j < D; ++j) load_coordinates(start + j * device_tile_points, v[j]);

  Best best;
  const int codewords = static_cast<int>(a.codewords);
  for (int first = 0; first < codewords; first += chunk_rows) {
    const int count = min(chunk_rows, codewords - first);
    if (first > 0) __syncthreads();  // all have read the chunk before
    for (int i = static_cast<int>(threadIdx.x); i < count * vectors; i += block_threads)
      rows[i] = table[static_cast<std::int64_t>(first) * vectors + i];  // 16 bytes
    __syncthreads();
#pragma unroll 2
    for (int c = lane; c < count; c += S) {
      float row[vectors * 4];
#pragma unroll
      for (int i = 0; i < vectors; ++i) {
        const float4 four = rows[c * vectors + i];
        row[4 * i] = four.x;
        row[4 * i + 1] = four.y;
        row[4 * i + 2] = four.z;
        row[4 * i + 3] = four.w;
      }
#pragma unroll
      for (int p = 0; p < points_per_thread; ++p) {
        float score = row[0];
#pragma unroll
        for (int j = 0; j < D; ++j) score = fmaf(-v[j][p], row[1 + j], score);
        best.offer(p, score, first + c);
      }
    }
  }
#pragma unroll
  for (int lanes = 1; lanes < S; lanes *= 2) best.merge(lanes);
  if (inside && lane == 0) finish(a, batch, quad, D, best);
}

/// Any d: eight codewords at a time, points and codewords through the first-level cache; for each coordinate
/// one 16-byte read, eight of 4 bytes and 32 fused multiply-adds.
template <int S>
__global__ void __launch_bounds__(block_threads, 6) assign_any_kernel(AssignArguments a) {
  constexpr int group = static_cast<int>(table_group);
  const std::int64_t batch = blockIdx.y;
  const std::int64_t quad = (static_cast<std::int64_t>(blockIdx.x) * block_threads + threadIdx.x) / S;
  const bool inside = quad * points_per_thread < a.points;
  const int lane = static_cast<int>(threadIdx.x % S);
  const std::int64_t stride = table_stride(a.d);
  const std::int64_t readable = inside ? quad : a.points / points_per_thread - 1;
  const float* start = quad_start(a.tiles + batch * a.points * a.d, readable, a.d);
  const float* table = a.table + batch * a.codewords * stride;
  Best best;
  for (int first = lane * group; first < static_cast<int>(a.codewords); first += S * group) {
    const float* row = table + first * stride;
    float score[group][points_per_thread];
#pragma unroll
    for (int c = 0; c < group; ++c) {
      const float half_norm = __ldg(row + c * stride);
#pragma unroll
      for (int p = 0; p < points_per_thread; ++p) score[c][p] = half_norm;
    }
    for (std::int64_t j = 0; j < a.d; ++j) {
      float v[points_per_thread];
      load_coordinates(start + j * device_tile_points, v);
#pragma unroll
      for (int c = 0; c < group; ++c) {
        const float coordinate = __ldg(row + c * stride + 1 + j);
#pragma unroll
        for (int p = 0; p < points_per_thread; ++p) score[c][p] = fmaf(-v[p], coordinate, score[c][p]);
      }
    }
#pragma unroll
    for (int c = 0; c < group; ++c)
#pragma unroll
      for (int p = 0; p < points_per_thread; ++p) best.offer(p, score[c][p], first + c);
  }
#pragma unroll
  for (int lanes = 1; lanes < S; lanes *= 2) best.merge(lanes);
  if (inside && lane == 0) finish(a, batch, quad, a.d, best);
}

std::int64_t blocks_for(const AssignArguments& a, int lanes) {
  const std::int64_t threads = a.points / points_per_thread * lanes;
  return (threads + block_threads - 1) / block_threads;
}

/// Lanes that share a point's codewords: several where one would leave most of the device idle.
bool splits_codewords(const AssignArguments& a, const Device& device) {
  return blocks_for(a, 1) * a.batches < 2 * std::int64_t{device.multiprocessors()};
}

template <int D, int S>
void start(const AssignArguments& a, const Device& device) {
  constexpr std::int64_t row_bytes = table_stride(D) * std::int64_t{sizeof(float)};
  const std::int64_t rows = min(a.codewords, chunk_bytes / row_bytes / table_group * table_group);
  launch(device, "kernel assign", LaunchShape{blocks_for(a, S), a.batches, block_threads, rows * row_bytes},
         assign_kernel<D, S>, a, static_cast<int>(rows));
}

template <int D>
void start_either(const AssignArguments& a, const Device& device) {
  if (splits_codewords(a, device))
    start<D, 8>(a, device);
  else
    start<D, 1>(a, device);
}

void start_any(const AssignArguments& a, const Device& device) {
  if (splits_codewords(a, device))
    launch(device, "kernel assign_any", LaunchShape{blocks_for(a, 8), a.batches, block_threads, 0},
           assign_any_kernel<8>, a);
  else
    launch(device, "kernel assign_any", LaunchShape{blocks_for(a, 1), a.batches, block_threads, 0},
           assign_any_kernel<1>, a);
}

void start_for_dimension(const AssignArguments& a, const Device& device) {
  switch (a.d) {
    case 4:
      return start_either<4>(a, device);
    case 8:
      return start_either<8>(a, device);
    case 9:
      return start_either<9>(a, device);
    case 16:
      return start_either<16>(a, device);
    case 18:
      return start_either<18>(a, device);
    default:
      return start_any(a, device);
  }
}

}  // namespace

void assign(const AssignArguments& all, const Device& device) {
  constexpr std::int64_t most_batches = 65535;  // of a grid
  for (std::int64_t first = 0; first < all.batches && all.points > 0; first += most_batches) {
    AssignArguments a = all;
    a.batches = min(most_batches, all.batches - first);
    a.tiles += first * a.points * a.d;
    a.table += first * a.codewords * table_stride(a.d);
    a.codes += first * a.points;
    a.errors += first * a.points;
    start_for_dimension(a, device);
  }
}

}  // namespace bitfall::cuda
