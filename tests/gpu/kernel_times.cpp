// Times of the k-means kernels on layers of ResNet-50, in microseconds, as tab-separated lines:
//   n  d  k  microseconds of one E-step  microseconds of one update of the sums in which every point moves
// tests/gpu/kernel_table.py puts them beside the floors and beside torch.
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "cuda/kernels/assign.hpp"
#include "cuda/kernels/cluster_sums.hpp"
#include "stopwatch.hpp"

using namespace bitfall;

namespace {

std::vector<float> random_floats(std::int64_t count) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

void measure(std::int64_t n, std::int64_t d, std::int64_t k) {
  const cuda::Device device(0, 0);
  const std::int64_t points = (n + 63) / 64 * 64, stride = cuda::table_stride(d);
  const cuda::Buffer<float> tiles(device, random_floats(points * d)),
      table(device, random_floats(k * stride));
  cuda::Buffer<std::int32_t> codes(device, points),
      previous(device, std::vector<std::int32_t>(static_cast<std::size_t>(points), -1));
  cuda::Buffer<float> errors(device, points);
  cuda::Buffer<std::int64_t> sums(device, k * (d + 1)), totals(device, 2);
  sums.set_zero();
  totals.set_zero();
  const double e_step = microseconds(device, [&] {
    cuda::assign({.tiles = tiles.data(),
                  .table = table.data(),
                  .codes = codes.data(),
                  .errors = errors.data(),
                  .points = points,
                  .d = d,
                  .codewords = k},
                 device);
  });
  std::vector<std::int32_t> nobody(static_cast<std::size_t>(points), -1);
  const double update = microseconds(device, [&] {
    previous.upload(nobody);  // inside the events: what it takes is reported with the update
    cuda::update_cluster_sums({.blocks = tiles.data(),
                               .codes = codes.data(),
                               .errors = errors.data(),
                               .previous = previous.data(),
                               .sums = sums.data(),
                               .totals = totals.data(),
                               .points = n,
                               .d = d,
                               .k = k,
                               .coordinate_scale = 0x1p20,
                               .error_scale = 0x1p20},
                              device);
  });
  std::printf("%lld\t%lld\t%lld\t%.2f\t%.2f\n", static_cast<long long>(n), static_cast<long long>(d),
              static_cast<long long>(k), e_step, update);
}

}  // namespace

int main(int argc, char** argv) {
  if ((argc - 1) % 3 != 0) return 64;
  for (int i = 1; i + 2 < argc; i += 3)
    measure(std::atoll(argv[i]), std::atoll(argv[i + 1]), std::atoll(argv[i + 2]));
  return 0;
}
