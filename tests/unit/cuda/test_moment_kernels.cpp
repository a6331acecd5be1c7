// Unfolded rows, second moments and rounded sums against plain loops.
#include <cmath>
#include <vector>

#include "catch.hpp"
#include "cuda/kernels/block_moments.hpp"
#include "cuda/kernels/rounded_sums.hpp"
#include "cuda/kernels/unfold_rows.hpp"
#include "kernel_device.hpp"
#include "kernel_inputs.hpp"
#include "window_oracle.hpp"

using namespace bitfall;

namespace {

/// The sum for columns a and b, in double.
double moment(const WindowCase& input, std::int64_t a, std::int64_t b) {
  double sum = 0;
  for (std::int64_t image = 0; image < input.images; ++image)
    for (std::int64_t group = 0; group < input.groups; ++group)
      for (std::int64_t position = 0; position < input.window.positions(); ++position)
        sum += double(input.at(image, group, position, a)) * double(input.at(image, group, position, b));
  return sum;
}

/// `allowed`: relative to the diagonal; 0 demands equal bits.
void require_moments(const WindowCase& input, std::int64_t d, double allowed, std::uint64_t seed) {
  const std::int64_t blocks = input.window.columns() / d, pairs = d * (d + 1) / 2;
  INFO("d " << d << ", " << input.window.columns() << " columns, " << input.window.positions()
            << " positions, " << input.images << " images, " << input.groups << " groups");
  const cuda::Device device = kernel_device(seed);
  const cuda::Buffer<float> values(device, std::span<const float>(input.values));
  cuda::Buffer<double> partial(device, input.images * input.groups * blocks * pairs),
      triangles(device, blocks * pairs);
  RowWindow window = input.window;
  window.values = values.data();
  cuda::block_moments({window, input.images, input.groups, d, partial.data(), triangles.data()}, device);
  std::vector<double> found(static_cast<std::size_t>(blocks * pairs));
  triangles.download(found);
  std::size_t next = 0;
  for (std::int64_t j = 0; j < blocks; ++j)
    for (std::int64_t a = j * d; a < (j + 1) * d; ++a)
      for (std::int64_t b = a; b < (j + 1) * d; ++b, ++next) {
        const double expected = moment(input, a, b);
        const double bound = allowed * std::sqrt(moment(input, a, a) * moment(input, b, b));
        if (!(std::abs(found[next] - expected) <= bound))
          FAIL(a << ", " << b << ": " << found[next] << " != " << expected);
      }
}

}  // namespace

TEST_CASE("unfolded rows: every kind of window, any order of addresses") {
  for (const WindowCase& input : window_cases(Values::normal)) {
    const RowWindow& window = input.window;
    std::vector<RowAddress> addresses;
    for (std::int64_t i = input.images * input.groups * window.positions() - 1; i >= 0; i -= 3)
      addresses.push_back({i / window.positions() / input.groups, i / window.positions() % input.groups,
                           i % window.positions()});
    const cuda::Device device = kernel_device(addresses.size());
    const cuda::Buffer<float> values(device, std::span<const float>(input.values));
    const cuda::Buffer<RowAddress> there(device, std::span<const RowAddress>(addresses));
    cuda::Buffer<float> rows(device, there.size() * window.columns());
    RowWindow on_device = window;
    on_device.values = values.data();
    cuda::unfold_rows({on_device, there.data(), there.size(), rows.data()}, device);
    std::vector<float> found(static_cast<std::size_t>(rows.size())), expected;
    rows.download(found);
    for (const RowAddress& row : addresses)
      for (std::int64_t column = 0; column < window.columns(); ++column)
        expected.push_back(input.at(row.image, row.group, row.position, column));
    REQUIRE(found == expected);
  }
}

TEST_CASE("unfolded rows: none, and more columns than threads") {
  const WindowCase input = linear_case(1, 2, 1000, Values::huge, 3);
  const cuda::Device device = kernel_device(1);
  const cuda::Buffer<float> values(device, std::span<const float>(input.values));
  const cuda::Buffer<RowAddress> there(device, std::vector<RowAddress>{{0, 0, 1}});
  cuda::Buffer<float> rows(device, 1000);
  RowWindow window = input.window;
  window.values = values.data();
  cuda::unfold_rows({window, there.data(), 0, rows.data()}, device);
  cuda::unfold_rows({window, there.data(), 1, rows.data()}, device);
  std::vector<float> found(1000);
  rows.download(found);
  REQUIRE(std::equal(found.begin(), found.end(), input.values.begin() + 1000));
}

TEST_CASE("moments of small integers are exact") {
  std::uint64_t seed = 1;
  for (const WindowCase& input : window_cases(Values::ties))
    for (const std::int64_t d : {1, 2, 3, 4, 6, 8, 9, 12, 18, 25, 36})
      if (input.window.columns() % d == 0) require_moments(input, d, 0, seed++);
}

TEST_CASE("moments: many pairs, many positions, nasty values") {
  require_moments(linear_case(1, 5, 300, Values::ties, 1), 300, 0, 1);  // 45,150 pairs, tiles of 27 positions
  require_moments(linear_case(2, 2, 46, Values::ties, 2), 23, 0, 2);    // 276 pairs: two chunks
  require_moments(linear_case(1, 1500, 8, Values::normal, 3), 4, 1e-6, 3);
  require_moments(linear_case(1, 700, 9, Values::huge, 4), 9, 1e-6, 4);
  require_moments(linear_case(1, 7, 9, Values::zero, 5), 9, 0, 5);
  require_moments(
      convolution_case(2, 1, {.channels = 3, .input = {21, 23}, .kernel = {3, 3}, .padding = {1, 1}},
                       Values::normal, 6),
      9, 1e-6, 6);
}

TEST_CASE("moments of whole windows: few and many positions, groups of columns that do not fill a block") {
  std::uint64_t seed = 7;
  for (const std::int64_t channels : {8, 24, 72})
    for (const RowWindow& window :
         {RowWindow{.channels = channels, .input = {1, 1}}, RowWindow{.channels = channels, .input = {7, 7}},
          RowWindow{.channels = channels, .input = {15, 9}, .stride = {2, 1}},
          RowWindow{.channels = channels, .input = {6, 5}, .stride = {1, 2}, .padding = {2, 1}},
          RowWindow{.channels = channels, .input = {21, 23}},
          RowWindow{.channels = channels / 8, .input = {19, 18}, .kernel = {3, 3}, .padding = {1, 1}},
          RowWindow{.channels = channels / 8, .input = {9, 14}, .kernel = {3, 3}, .stride = {2, 1}},
          RowWindow{.channels = channels / 8,
          .input = {9, 7},
          .kernel = {3, 3},
          .padding = {0, 2},
          .dilation = {2, 1}}})
      for (const std::int64_t d :
           window.kernel[0] == 1 ? std::vector<std::int64_t>{4, 8} : std::vector<std::int64_t>{9})
        for (const Values kind : {Values::ties, Values::normal}) {
          require_moments(convolution_case(2, 2, window, kind, seed), d, kind == Values::ties ? 0 : 1e-6,
                          seed);
          ++seed;
        }
}

TEST_CASE("moments without images are zero") {
  WindowCase input = linear_case(1, 3, 8, Values::normal, 1);
  input.images = 0;
  require_moments(input, 4, 0, 1);
}

TEST_CASE("rounded sums have the host's bits") {
  std::mt19937_64 random(5);
  const double factor = 0x1p20;
  for (const Values kind : {Values::normal, Values::ties, Values::denormal, Values::zero}) {
    for (const std::int64_t columns : {1, 2, 31, 300}) {
      const cuda::Device device = kernel_device(static_cast<std::uint64_t>(columns));
      const std::int64_t count = columns * columns;
      std::vector<std::int64_t> all(static_cast<std::size_t>(count), 7),
          lower(static_cast<std::size_t>(columns * (columns + 1) / 2), -3);
      cuda::Buffer<std::int64_t> all_there(device, std::span<const std::int64_t>(all)),
          lower_there(device, std::span<const std::int64_t>(lower));
      for (int step = 0; step < 2; ++step) {
        std::vector<float> product = random_values(count, kind, random);
        // Halves of the last digit: to even.
        for (std::size_t i = 0; i < product.size(); i += 5) product[i] = std::ldexp(float(i % 9) + 0.5F, -20);
        const cuda::Buffer<float> there(device, std::span<const float>(product));
        cuda::add_rounded(there.data(), count, factor, all_there.data(), device);
        cuda::add_rounded_lower(there.data(), columns, factor, lower_there.data(), device);
        std::size_t next = 0;
        for (std::int64_t a = 0; a < columns; ++a)
          for (std::int64_t b = 0; b < columns; ++b) {
            const auto i = static_cast<std::size_t>(a * columns + b);
            const std::int64_t rounded = std::llrint(double(product[i]) * factor);
            all[i] += rounded;
            if (b <= a) lower[next++] += rounded;
          }
      }
      std::vector<std::int64_t> found(all.size()), found_lower(lower.size());
      all_there.download(found);
      lower_there.download(found_lower);
      REQUIRE(found == all);
      REQUIRE(found_lower == lower);
    }
  }
}
