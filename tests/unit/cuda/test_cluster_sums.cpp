// The sums over clusters against a plain loop: integers, so equal in every bit.
#include <cmath>
#include <vector>

#include "catch.hpp"
#include "cuda/kernels/cluster_sums.hpp"
#include "kernel_device.hpp"
#include "kernel_inputs.hpp"

using namespace bitfall;

namespace {

struct Shape {
  std::int64_t points, k, d;
};

std::int64_t rounded(float value, double scale) {
  return std::llrint(static_cast<double>(value) * scale);
}

/// Three E-steps with random codes, the first from nothing; afterwards sums and totals must be those of the
/// last codes.
void require_equal_to_loop(const Shape& shape, Values kind, std::uint64_t seed) {
  INFO("points " << shape.points << " k " << shape.k << " d " << shape.d << " seed " << seed);
  std::mt19937_64 random(seed);
  const cuda::Device device = kernel_device(seed);
  const std::int64_t padded = (shape.points + 63) / 64 * 64, width = shape.d + 1;
  const std::vector<float> blocks = random_values(shape.points * shape.d, kind, random);
  const double coordinate_scale = kind == Values::huge ? 0x1p-20 : 0x1p30, error_scale = 0x1p25;
  const cuda::Buffer<float> device_blocks(device, blocks);
  cuda::Buffer<std::int32_t> previous(device,
                                      std::vector<std::int32_t>(static_cast<std::size_t>(padded), -1));
  cuda::Buffer<std::int64_t> sums(device, shape.k * width), totals(device, 2);
  sums.set_zero();
  std::vector<std::int32_t> before(static_cast<std::size_t>(shape.points), -1);
  for (int step = 0; step < 3; ++step) {
    std::vector<std::int32_t> codes(static_cast<std::size_t>(padded),
                                    0);  // the padding has a code like any point
    for (std::int32_t& code : codes)
      code = static_cast<std::int32_t>(random() % static_cast<std::uint64_t>(shape.k));
    // Most points stay where they are in the last step.
    for (std::size_t i = 0; step == 2 && i < before.size(); ++i)
      if (random() % 8 != 0) codes[i] = before[i];
    std::vector<float> errors = random_values(padded, Values::normal, random);
    for (float& error : errors) error = std::fabs(error);
    std::vector<std::int64_t> expected(static_cast<std::size_t>(shape.k * width), 0), expected_totals(2, 0);
    for (std::int64_t i = 0; i < shape.points; ++i) {
      const auto point = static_cast<std::size_t>(i);
      std::int64_t* own = expected.data() + codes[point] * width;
      for (std::int64_t j = 0; j < shape.d; ++j)
        own[j] += rounded(blocks[static_cast<std::size_t>(i * shape.d + j)], coordinate_scale);
      ++own[shape.d];
      expected_totals[0] += rounded(errors[point], error_scale);
      expected_totals[1] += codes[point] != before[point] ? 1 : 0;
      before[point] = codes[point];
    }
    const cuda::Buffer<std::int32_t> device_codes(device, codes);
    const cuda::Buffer<float> device_errors(device, errors);
    totals.set_zero();
    cuda::update_cluster_sums({.blocks = device_blocks.data(),
                               .codes = device_codes.data(),
                               .errors = device_errors.data(),
                               .previous = previous.data(),
                               .sums = sums.data(),
                               .totals = totals.data(),
                               .points = shape.points,
                               .d = shape.d,
                               .k = shape.k,
                               .coordinate_scale = coordinate_scale,
                               .error_scale = error_scale},
                              device);
    std::vector<std::int64_t> found(expected.size()), found_totals(2);
    sums.download(found);
    totals.download(found_totals);
    REQUIRE(found == expected);
    REQUIRE(found_totals == expected_totals);
  }
}

}  // namespace

TEST_CASE("cluster sums: sizes that are multiples of nothing, nasty values") {
  std::uint64_t seed = 1;
  for (const Values kind : all_values)
    for (const std::int64_t points : {1, 3, 63, 64, 65, 1029})
      require_equal_to_loop(
          {
              points,
              1 + points % 37,
              1 + points % 18,
          },
          kind, seed++);
}

TEST_CASE("cluster sums: more points than the grid has threads") {
  require_equal_to_loop({4 * 2 * 256 * 4 * 2 + 5, 16, 4}, Values::normal, 1);
}

TEST_CASE("cluster sums: codebooks that do not fit shared memory") {
  require_equal_to_loop({300, 2048, 4}, Values::normal, 1);
  require_equal_to_loop({3000, 4096, 18}, Values::ties, 2);
}
