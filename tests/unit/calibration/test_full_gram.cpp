// The whole Gram matrix against dense products in double.
#include <ATen/ops/matmul.h>
#include <ATen/ops/randn.h>

#include <limits>
#include <string>
#include <vector>

#include "bitfall/calibration.hpp"
#include "bitfall/errors.hpp"
#include "catch.hpp"
#include "gram_oracle.hpp"
#include "small_network.hpp"

using namespace bitfall;
using namespace bitfall::test;

namespace {

std::vector<double> square(const FullGram& gram) {
  std::vector<double> values;
  for (std::int64_t a = 0; a < gram.columns; ++a)
    for (std::int64_t b = 0; b < gram.columns; ++b) {
      const std::int64_t high = std::max(a, b), low = std::min(a, b);
      values.push_back(gram.lower[static_cast<std::size_t>(high * (high + 1) / 2 + low)]);
    }
  return values;
}

}  // namespace

TEST_CASE("whole Gram matrices of convolutions over one and three dimensions") {
  const std::vector<at::Tensor> lines = {at::randn({3, 4, 13}), at::randn({1, 4, 13})};
  const std::vector<at::Tensor> volumes = {at::randn({2, 3, 4, 5, 3}), at::randn({1, 3, 4, 5, 3})};
  const std::vector<std::pair<Layer, std::vector<at::Tensor>>> cases = {
      {convolution({5, 4, 3}, {1}, {1}, {1}, 1), lines},
      {convolution({5, 2, 3}, {2}, {0}, {1}, 2), lines},
      {convolution({5, 3, 3, 3, 3}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, 1), volumes},
      {convolution({5, 3, 2, 3, 1}, {2, 1, 1}, {1, 0, 0}, {1, 1, 1}, 1), volumes}};
  for (const auto& [layer, inputs] : cases) {
    const at::Tensor x = all_rows(layer, inputs);
    const FullGram gram = accumulate_full_gram(layer, inputs, {.threads = 2}, Communicator::self());
    REQUIRE(gram.samples == x.size(0));
    check_close(square(gram), at::matmul(x.t(), x), 1e-5);
  }
}

TEST_CASE("all rows of a layer give its whole Gram matrix, and its diagonal blocks the smaller ones") {
  const auto inputs = small_images(4);
  for (const Layer& layer : small_layers()) {
    const at::Tensor x = all_rows(layer, inputs);
    const FullGram gram = accumulate_full_gram(layer, inputs, {.threads = 2}, Communicator::self());
    REQUIRE(gram.columns == layer.columns());
    REQUIRE(gram.samples == x.size(0));
    check_close(square(gram), at::matmul(x.t(), x), 1e-5);
    const std::int64_t d = layer.kernel_elements();
    check_close(diagonal_blocks(gram, d), gram_oracle(layer, inputs, d), 1e-5);
    check_close(sum_positions(diagonal_blocks(gram, d), d), gram_oracle(layer, inputs, d).sum(0), 1e-5);
  }
  const Layer fc = linear(5, 24);
  const std::vector<at::Tensor> rows{at::randn({7, 24}), at::randn({2, 3, 24})};
  const at::Tensor x = all_rows(fc, rows);
  check_close(square(accumulate_full_gram(fc, rows, {}, Communicator::self())), at::matmul(x.t(), x), 1e-5);
}

TEST_CASE("sampled rows: as many from each image, the same under one seed, others under another") {
  const auto inputs = small_images(3);  // 7 images of 10 x 10
  const Layer layer = convolution({4, 3, 3, 3}, {1, 1}, {1, 1}, {1, 1}, 1);
  const auto take = [&](std::uint64_t seed, std::uint64_t stream) {
    return accumulate_full_gram(layer, inputs, {.rows = 70, .seed = seed, .stream = stream},
                                Communicator::self());
  };
  const FullGram gram = take(1, 2);
  REQUIRE(gram.samples == 70);
  REQUIRE(take(1, 2).lower == gram.lower);
  REQUIRE(take(2, 2).lower != gram.lower);
  REQUIRE(take(1, 3).lower != gram.lower);
  // More rows than there are: all of them, in whatever order they were asked for.
  const FullGram all = accumulate_full_gram(layer, inputs, {.rows = 1000000}, Communicator::self());
  REQUIRE(all.samples == 700);
  REQUIRE(all.lower == accumulate_full_gram(layer, inputs, {}, Communicator::self()).lower);
  // A tenth of the rows is a fair sample: the traces agree within a few standard deviations.
  double sampled = 0, whole = 0;
  for (std::int64_t a = 0; a < all.columns; ++a) {
    sampled += gram.lower[static_cast<std::size_t>(a * (a + 1) / 2 + a)] * 10;
    whole += all.lower[static_cast<std::size_t>(a * (a + 1) / 2 + a)];
  }
  CHECK(sampled == Approx(whole).epsilon(0.25));
}

TEST_CASE("inputs that are NaN, infinite or of another shape are refused by the layer's name") {
  const Layer layer = convolution({4, 3, 3, 3}, {1, 1}, {1, 1}, {1, 1}, 1);
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), -3e19F}) {
    auto inputs = small_images(2);
    inputs[0].mutable_data_ptr<float>()[17] = bad;
    REQUIRE_THROWS_AS(accumulate_full_gram(layer, inputs, {}, Communicator::self()), DataError);
  }
  std::string message;
  try {
    (void)accumulate_full_gram(layer, std::vector<at::Tensor>{at::zeros({1, 4, 9, 9})}, {},
                               Communicator::self());
  } catch (const DataError& error) {
    message = error.what();
  }
  CHECK(message.find("layer 'block.conv'") != std::string::npos);
}
