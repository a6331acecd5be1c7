#include "cuda/kernels/trained_parts.hpp"

#include "device_code.hpp"

namespace bitfall::cuda {
namespace {

constexpr int block_threads = 128;
/// Values of a codeword's blocks in shared memory at a time.
constexpr int tile_values = 2048;
/// Coordinates that one block of threads sums: a thread each.
constexpr int most_coordinates = block_threads;
/// Values that a block of threads writes.
constexpr int written_values = 8 * block_threads;
// register budget: gather_gradients_kernel<> 64
// register budget: write_weights_kernel<> 32

__host__ __device__ __forceinline__ std::int64_t pieces(std::int64_t count, std::int64_t most) {
  return (count + most - 1) / most;
}

/// The part that a block of threads works on, by bisection.
__device__ __forceinline__ std::int64_t part_of(const TrainedPartsArguments& a, std::int64_t block) {
  std::int64_t low = 0, high = a.count;  // first_blocks[low] <= block < first_blocks[high]
  while (high - low > 1) {
    const std::int64_t middle = (low + high) / 2;
    if (a.first_blocks[middle] <= block)
      low = middle;
    else
      high = middle;
  }
  return low;
}

/// The mean over one codeword's blocks of up to most_coordinates coordinates. All threads fetch, one for each
/// coordinate adds, in the order of the blocks.
__device__ __forceinline__ void gather_codeword(const TrainedPart& part, std::int64_t block,
                                                double* gradient) {
  const std::int64_t chunks = pieces(part.d, most_coordinates);
  const std::int64_t codeword = block / chunks, first = block % chunks * most_coordinates;
  const int width = static_cast<int>(min(std::int64_t{most_coordinates}, part.d - first));
  const int tile = tile_values / width, thread = static_cast<int>(threadIdx.x);
  const SharedArray<float> rows = shared_array<float>(0, tile_values);
  const std::int64_t begin = part.starts[codeword], end = part.starts[codeword + 1];
  double sum = 0;
  for (std::int64_t next = begin; next < end; next += tile) {
    const int count = static_cast<int>(min(std::int64_t{tile}, end - next));
    if (next > begin) __syncthreads();
    for (int i = thread; i < count * width; i += block_threads) {
      const int row = i / width;
      rows[static_cast<unsigned>(i)] =
          part.gradient[part.order[next + row] * part.d + first + (i - row * width)];
    }
    __syncthreads();
    if (thread >= width) continue;
    // g_c += dL/dv
    for (int row = 0; row < count; ++row)
      sum += static_cast<double>(rows[static_cast<unsigned>(row * width + thread)]);
  }
  // g_c /= |members|
  if (thread < width)
    gradient[part.first + codeword * part.d + first + thread] =
        sum / static_cast<double>(max(end - begin, std::int64_t{1}));
}

__global__ void __launch_bounds__(block_threads, 8)
    gather_gradients_kernel(TrainedPartsArguments a, double* gradient) {
  const std::int64_t index = part_of(a, blockIdx.x);
  const TrainedPart& part = a.parts[index];
  const std::int64_t block = blockIdx.x - a.first_blocks[index];
  if (part.d > 0) {
    gather_codeword(part, block, gradient);
    return;
  }
  const std::int64_t end = min(part.length, (block + 1) * written_values);
  for (std::int64_t i = block * written_values + threadIdx.x; i < end; i += block_threads)
    gradient[part.first + i] = static_cast<double>(part.gradient[i]);
}

__global__ void __launch_bounds__(block_threads)
    write_weights_kernel(TrainedPartsArguments a, const float* values) {
  const std::int64_t index = part_of(a, blockIdx.x);
  const TrainedPart& part = a.parts[index];
  const std::int64_t block = blockIdx.x - a.first_blocks[index];
  const float* source = values + part.first;
  const auto d = static_cast<unsigned>(part.d);
  const auto end = static_cast<unsigned>(min(part.weights, (block + 1) * written_values));
  for (unsigned i = static_cast<unsigned>(block * written_values) + threadIdx.x; i < end;
       i += block_threads) {
    if (d == 0) {
      part.weight[i] = source[i];
      continue;
    }
    const unsigned row = i / d;
    // w_i = c_{code}
    part.weight[i] = source[static_cast<unsigned>(part.codes[row]) * d + (i - row * d)];
  }
}

}  // namespace

std::int64_t gradient_blocks(const TrainedPart& part) {
  if (part.d == 0) return pieces(part.length, written_values);
  return part.length / part.d * pieces(part.d, most_coordinates);
}

std::int64_t weight_blocks(const TrainedPart& part) {
  return pieces(part.weights, written_values);
}

void gather_gradients(const TrainedPartsArguments& a, std::int64_t blocks, double* gradient,
                      const Device& device) {
  if (blocks == 0) return;
  launch(device, "kernel gather_gradients",
         LaunchShape{blocks, 1, block_threads, tile_values * std::int64_t{sizeof(float)}},
         gather_gradients_kernel, a, gradient);
}

void write_weights(const TrainedPartsArguments& a, std::int64_t blocks, const float* values,
                   const Device& device) {
  if (blocks == 0) return;
  launch(device, "kernel write_weights", LaunchShape{blocks, 1, block_threads, 0}, write_weights_kernel, a,
         values);
}

}  // namespace bitfall::cuda
