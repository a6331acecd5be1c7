// The E-step's kernels against their twin, bit for bit.
#include <bit>
#include <cfloat>
#include <vector>

#include "catch.hpp"
#include "cuda/kernels/assign.hpp"
#include "kernel_device.hpp"
#include "kernel_inputs.hpp"
#include "quantization/estep.hpp"

using namespace bitfall;

namespace {

struct Shape {
  std::int64_t points, k, d, batches;
};

std::vector<float> device_rows(const CodewordTable& table) {
  const std::int64_t stride = cuda::table_stride(table.d);
  const std::int64_t rows = (table.k + cuda::table_group - 1) / cuda::table_group * cuda::table_group;
  std::vector<float> values(static_cast<std::size_t>(rows * stride), 0.0f);
  for (std::int64_t c = 0; c < rows; ++c) {
    values[static_cast<std::size_t>(c * stride)] = c < table.k ? table.half_norm(c) : FLT_MAX;
    if (c < table.k) std::ranges::copy(table.codeword(c), values.begin() + c * stride + 1);
  }
  return values;
}

void require_equal_to_twin(const Shape& shape, Values kind, std::uint64_t seed) {
  INFO("points " << shape.points << " k " << shape.k << " d " << shape.d << " batches " << shape.batches
                 << " values " << static_cast<int>(kind) << " seed " << seed);
  std::mt19937_64 random(seed);
  const std::int64_t padded = (shape.points + group_points - 1) / group_points * group_points;
  const auto padded_size = static_cast<std::size_t>(padded);
  std::vector<float> tiles, rows;
  std::vector<std::int32_t> expected_codes;
  std::vector<float> expected_errors;
  for (std::int64_t b = 0; b < shape.batches; ++b) {
    AlignedVector<float> own(static_cast<std::size_t>(padded * shape.d), 0.0f);
    const std::vector<float> values = random_values(shape.points * shape.d, kind, random);
    for (std::int64_t i = 0; i < shape.points; ++i)
      for (std::int64_t j = 0; j < shape.d; ++j)
        own[static_cast<std::size_t>((i / tile_points * shape.d + j) * tile_points + i % tile_points)] =
            values[static_cast<std::size_t>(i * shape.d + j)];
    CodewordTable table(shape.k, shape.d);
    table.set(random_values(shape.k * shape.d, kind, random));
    std::vector<std::int32_t> codes(padded_size);
    std::vector<float> errors(padded_size);
    assign_groups(own.data(), padded / group_points, table, codes.data(), errors.data());
    const std::vector<float> own_rows = device_rows(table);
    tiles.insert(tiles.end(), own.begin(), own.end());
    rows.insert(rows.end(), own_rows.begin(), own_rows.end());
    expected_codes.insert(expected_codes.end(), codes.begin(), codes.end());
    expected_errors.insert(expected_errors.end(), errors.begin(), errors.end());
  }
  const cuda::Device device = kernel_device(seed);
  const cuda::Buffer<float> device_tiles(device, tiles), table(device, rows);
  cuda::Buffer<std::int32_t> codes(device, std::ssize(expected_codes));
  cuda::Buffer<float> errors(device, std::ssize(expected_codes));
  cuda::assign({.tiles = device_tiles.data(),
                .table = table.data(),
                .codes = codes.data(),
                .errors = errors.data(),
                .points = padded,
                .d = shape.d,
                .codewords = table.size() / shape.batches / cuda::table_stride(shape.d),
                .batches = shape.batches},
               device);
  std::vector<std::int32_t> found_codes(expected_codes.size());
  std::vector<float> found_errors(expected_codes.size());
  codes.download(found_codes);
  errors.download(found_errors);
  REQUIRE(found_codes == expected_codes);
  for (std::size_t i = 0; i < found_errors.size(); ++i)
    REQUIRE(std::bit_cast<std::uint32_t>(found_errors[i]) ==
            std::bit_cast<std::uint32_t>(expected_errors[i]));
}

}  // namespace

TEST_CASE("assign: every compiled d and others, sizes that are multiples of nothing, nasty values") {
  std::uint64_t seed = 1;
  for (const std::int64_t d : {1, 3, 4, 8, 9, 16, 18, 27}) {
    for (const Values kind : all_values) {
      require_equal_to_twin({65 + d, 37, d, 1}, kind, seed++);
      require_equal_to_twin({1, 1, d, 2}, kind, seed++);
    }
    // Enough points that a codeword is not split among lanes (four multiprocessors, see
    // emulation/device.cpp).
    require_equal_to_twin({4 * 128 * 4 * 2 + 3, 9, d, 1}, Values::ties, seed++);
  }
}

TEST_CASE("assign: codebooks larger than shared memory go through it in pieces") {
  require_equal_to_twin({130, 2048, 4, 1}, Values::normal, 1);
  require_equal_to_twin({70, 2048, 9, 1}, Values::ties, 2);
  require_equal_to_twin({64, 1025, 18, 3}, Values::normal, 3);
  require_equal_to_twin({4 * 128 * 4 * 2, 1030, 8, 1}, Values::ties, 4);
}

TEST_CASE("assign: equal codewords in different lanes and pieces: the lowest index wins") {
  for (const std::int64_t k : {8, 64, 2048}) require_equal_to_twin({66, k, 4, 1}, Values::zero, 1);
}
