#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/conv_transpose2d.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "bitfall/calibration.hpp"
#include "bitfall/errors.hpp"
#include "calibration/channel_energy.hpp"
#include "catch.hpp"
#include "gram_oracle.hpp"

using namespace bitfall;
using bitfall::test::convolution;
using bitfall::test::gram_oracle;
using bitfall::test::linear;

namespace {

const Communicator alone = Communicator::self();

/// Largest error of our matrices relative to the geometric mean of the diagonal entries involved (a bound of
/// the magnitude of an entry by Cauchy and Schwarz).
double error_of(const std::vector<double>& ours, const at::Tensor& oracle) {
  const std::int64_t m = oracle.size(0);
  const std::int64_t d = oracle.size(1);
  REQUIRE(static_cast<std::int64_t>(ours.size()) == m * d * d);
  const at::Tensor plain = oracle.contiguous();
  const double* expected = plain.const_data_ptr<double>();
  double worst = 0;
  for (std::int64_t j = 0; j < m; ++j) {
    const double* matrix = expected + j * d * d;
    for (std::int64_t a = 0; a < d; ++a) {
      for (std::int64_t b = 0; b < d; ++b) {
        const double bound = std::sqrt(matrix[a * d + a] * matrix[b * d + b]) + 1e-30;
        const double error = ours[static_cast<std::size_t>((j * d + a) * d + b)] - matrix[a * d + b];
        worst = std::max(worst, std::abs(error) / bound);
      }
    }
  }
  return worst;
}

void require_equal_to_oracle(const Layer& layer, const std::vector<at::Tensor>& inputs, std::int64_t d) {
  const at::Tensor oracle = gram_oracle(layer, inputs, d);
  std::int64_t samples = 0;
  for (const at::Tensor& input : inputs) samples += bitfall::test::unfolded(layer, input).size(0);
  const Gram one = accumulate_gram(layer, inputs, {.d = d, .per_position = true, .threads = 1}, alone);
  INFO("d = " << d << ", " << layer.columns() << " columns");
  REQUIRE(one.d == d);
  REQUIRE(one.samples == samples);
  REQUIRE(error_of(one.per_position, oracle) < 2e-6);
  REQUIRE(error_of(one.pooled, oracle.sum(0, true)) < 2e-6);
  const Gram pooled = accumulate_gram(layer, inputs, {.d = d, .per_position = false, .threads = 1}, alone);
  REQUIRE(pooled.per_position.empty());
  REQUIRE(error_of(pooled.pooled, oracle.sum(0, true)) < 2e-6);
  for (const int threads : {2, 3}) {
    const Gram more =
        accumulate_gram(layer, inputs, {.d = d, .per_position = true, .threads = threads}, alone);
    REQUIRE(more.per_position == one.per_position);
    REQUIRE(more.pooled == one.pooled);
    const Gram again = accumulate_gram(layer, inputs, {.d = d, .threads = threads}, alone);
    REQUIRE(again.pooled == pooled.pooled);
  }
}

/// Micro-batches with a mean that is not zero, the last one smaller.
std::vector<at::Tensor> images(std::int64_t channels, std::int64_t height, std::int64_t width) {
  return {at::randn({3, channels, height, width}) + 0.3, at::randn({3, channels, height, width}) * 2,
          at::randn({1, channels, height, width})};
}

}  // namespace

TEST_CASE("3x3 convolutions: padding, none, stride, dilation") {
  const auto x = images(6, 11, 13);
  for (const std::int64_t d : {1, 3, 4, 6, 9, 18, 27, 54}) {
    if (54 % d != 0) continue;
    require_equal_to_oracle(convolution({8, 6, 3, 3}, {1, 1}, {1, 1}, {1, 1}, 1), x, d);
    require_equal_to_oracle(convolution({8, 6, 3, 3}, {2, 2}, {1, 1}, {1, 1}, 1), x, d);
    require_equal_to_oracle(convolution({8, 6, 3, 3}, {1, 1}, {0, 0}, {1, 1}, 1), x, d);
    require_equal_to_oracle(convolution({8, 6, 3, 3}, {1, 1}, {2, 2}, {2, 2}, 1), x, d);
    require_equal_to_oracle(convolution({8, 6, 3, 3}, {3, 1}, {0, 4}, {1, 3}, 1), x, d);
  }
}

TEST_CASE("blocks of 4 cut through 3x3 kernels") {
  require_equal_to_oracle(convolution({8, 4, 3, 3}, {1, 1}, {1, 1}, {1, 1}, 1), images(4, 7, 7), 4);
  require_equal_to_oracle(convolution({8, 4, 3, 3}, {2, 1}, {1, 1}, {1, 1}, 1), images(4, 7, 7), 12);
}

TEST_CASE("1x1 convolutions on planes shorter and longer than vectors and tiles") {
  for (const auto& [height, width] :
       std::vector<std::pair<int, int>>{{1, 1}, {3, 5}, {4, 4}, {7, 7}, {56, 56}}) {
    const auto x = images(24, height, width);
    for (const std::int64_t d : {2, 4, 6, 8, 12, 24}) {
      require_equal_to_oracle(convolution({5, 24, 1, 1}, {1, 1}, {0, 0}, {1, 1}, 1), x, d);
      require_equal_to_oracle(convolution({5, 24, 1, 1}, {2, 2}, {0, 0}, {1, 1}, 1), x, d);
      require_equal_to_oracle(convolution({5, 24, 1, 1}, {1, 1}, {1, 0}, {1, 1}, 1), x, d);
    }
  }
}

TEST_CASE("other kernels: 5x5, 1x7, 7x1, 2x3, 7x7 of stride 2") {
  const auto x = images(4, 17, 12);
  require_equal_to_oracle(convolution({3, 4, 5, 5}, {1, 1}, {2, 2}, {1, 1}, 1), x, 25);
  require_equal_to_oracle(convolution({3, 4, 5, 5}, {1, 1}, {2, 2}, {1, 1}, 1), x, 10);
  require_equal_to_oracle(convolution({3, 4, 1, 7}, {1, 1}, {0, 3}, {1, 1}, 1), x, 7);
  require_equal_to_oracle(convolution({3, 4, 7, 1}, {1, 1}, {3, 0}, {1, 1}, 1), x, 14);
  require_equal_to_oracle(convolution({3, 4, 2, 3}, {1, 1}, {1, 0}, {1, 2}, 1), x, 6);
  require_equal_to_oracle(convolution({3, 4, 7, 7}, {2, 2}, {3, 3}, {1, 1}, 1), x, 49);
  require_equal_to_oracle(convolution({3, 4, 1, 1}, {1, 1}, {0, 0}, {1, 1}, 1), x, 4);
}

TEST_CASE("groups share their positions; depthwise too") {
  const auto x = images(12, 9, 10);
  for (const std::int64_t stride : {1, 2}) {
    require_equal_to_oracle(convolution({6, 4, 3, 3}, {stride, stride}, {1, 1}, {1, 1}, 3), x, 9);
    require_equal_to_oracle(convolution({6, 4, 3, 3}, {stride, stride}, {1, 1}, {1, 1}, 3), x, 18);
    require_equal_to_oracle(convolution({12, 1, 3, 3}, {stride, stride}, {1, 1}, {1, 1}, 12), x, 9);
    require_equal_to_oracle(convolution({6, 4, 1, 1}, {stride, stride}, {0, 0}, {1, 1}, 3), x, 4);
  }
}

TEST_CASE("linear layers on matrices, sequences and single vectors") {
  require_equal_to_oracle(linear(10, 24), {at::randn({5, 24}), at::randn({2, 24})}, 4);
  require_equal_to_oracle(linear(10, 24), {at::randn({5, 7, 24}), at::randn({5, 60, 24}) + 1}, 8);
  require_equal_to_oracle(linear(10, 24), {at::randn({24})}, 24);
  require_equal_to_oracle(linear(10, 6), {at::randn({1000, 6})}, 3);
}

TEST_CASE("inputs that are not contiguous, channels last, or without a batch dimension") {
  const Layer layer = convolution({8, 6, 3, 3}, {1, 1}, {1, 1}, {1, 1}, 1);
  const at::Tensor x = at::randn({4, 6, 8, 9});
  const Gram plain = accumulate_gram(layer, std::vector{x}, {.d = 9}, alone);
  const at::Tensor last = x.contiguous(at::MemoryFormat::ChannelsLast);
  REQUIRE(last.stride(1) == 1);
  REQUIRE(accumulate_gram(layer, std::vector{last}, {.d = 9}, alone).pooled == plain.pooled);
  const at::Tensor wide = at::zeros({4, 6, 8, 18});
  const at::Tensor every_other = wide.slice(3, 0, 18, 2);
  every_other.copy_(x);
  REQUIRE(accumulate_gram(layer, std::vector{every_other}, {.d = 9}, alone).pooled == plain.pooled);
  require_equal_to_oracle(layer, {x.transpose(2, 3)}, 9);
  require_equal_to_oracle(layer, {at::randn({6, 8, 9})}, 9);
  require_equal_to_oracle(linear(3, 8), {at::randn({8, 5}).t()}, 4);
}

TEST_CASE("a channel that is always zero gives exact zeros") {
  at::Tensor x = at::randn({2, 4, 6, 6});
  x.select(1, 2).zero_();
  const Gram gram =
      accumulate_gram(convolution({3, 4, 1, 1}, {1, 1}, {0, 0}, {1, 1}, 1), std::vector{x}, {.d = 4}, alone);
  for (std::size_t i = 0; i < 4; ++i) {
    REQUIRE(gram.pooled[2 * 4 + i] == 0);
    REQUIRE(gram.pooled[i * 4 + 2] == 0);
  }
  REQUIRE(gram.pooled[0] > 0);
}

TEST_CASE("tiny and huge inputs keep their precision") {
  const Layer layer = convolution({3, 4, 3, 3}, {1, 1}, {1, 1}, {1, 1}, 1);
  require_equal_to_oracle(layer, {at::randn({2, 4, 6, 6}) * 1e-12}, 9);
  require_equal_to_oracle(layer, {at::randn({2, 4, 6, 6}) * 1e15}, 9);
}

TEST_CASE("no micro-batches at all: zeros") {
  const Gram gram = accumulate_gram(linear(3, 8), {}, {.d = 4, .per_position = true}, alone);
  REQUIRE(gram.samples == 0);
  REQUIRE(gram.pooled == std::vector<double>(16));
  REQUIRE(gram.per_position == std::vector<double>(32));
}

TEST_CASE("NaN and infinity are refused with the layer's name") {
  const Layer layer = convolution({8, 6, 3, 3}, {1, 1}, {1, 1}, {1, 1}, 1);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    auto x = images(6, 5, 5);
    x[1].select(0, 2).select(0, 5).select(0, 4).select(0, 4).fill_(bad);
    try {
      (void)accumulate_gram(layer, x, {.d = 9, .threads = 2}, alone);
      FAIL("no exception");
    } catch (const DataError& error) {
      REQUIRE(std::string(error.what()).find("block.conv") != std::string::npos);
    }
  }
}

TEST_CASE("inputs that do not fit the layer are refused") {
  const Layer layer = convolution({8, 6, 3, 3}, {1, 1}, {0, 0}, {1, 1}, 1);
  REQUIRE_THROWS_AS(accumulate_gram(layer, std::vector{at::randn({2, 5, 8, 8})}, {.d = 9}, alone), DataError);
  REQUIRE_THROWS_AS(accumulate_gram(layer, std::vector{at::randn({2, 6, 2, 8})}, {.d = 9}, alone), DataError);
  REQUIRE_THROWS_AS(accumulate_gram(linear(3, 8), std::vector{at::randn({2, 9})}, {.d = 4}, alone),
                    DataError);
  REQUIRE_THROWS_AS(accumulate_gram(layer, images(6, 5, 5), {.d = 5}, alone), InternalError);
}

TEST_CASE("convolutions over one and three dimensions") {
  const std::vector<at::Tensor> lines = {at::randn({3, 4, 13}) + 0.3, at::randn({1, 4, 13})};
  for (const std::int64_t d : {1, 3, 6, 12})
    require_equal_to_oracle(convolution({5, 4, 3}, {1}, {1}, {1}, 1), lines, d);
  require_equal_to_oracle(convolution({5, 4, 3}, {2}, {3}, {2}, 1), lines, 6);
  require_equal_to_oracle(convolution({6, 2, 5}, {1}, {0}, {1}, 2), lines, 5);
  require_equal_to_oracle(convolution({5, 4, 1}, {1}, {0}, {1}, 1), lines, 4);
  require_equal_to_oracle(convolution({5, 4, 3}, {1}, {1}, {1}, 1), {at::randn({4, 13})}, 3);
  const std::vector<at::Tensor> volumes = {at::randn({2, 4, 4, 5, 3}) + 0.3, at::randn({1, 4, 4, 5, 3})};
  for (const std::int64_t d : {3, 9, 27})
    require_equal_to_oracle(convolution({5, 4, 3, 3, 3}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, 1), volumes, d);
  require_equal_to_oracle(convolution({5, 4, 2, 3, 1}, {2, 1, 1}, {1, 0, 0}, {2, 1, 1}, 1), volumes, 6);
  require_equal_to_oracle(convolution({6, 2, 2, 1, 2}, {1, 2, 1}, {0, 1, 1}, {1, 1, 2}, 2), volumes, 4);
  require_equal_to_oracle(convolution({5, 4, 1, 1, 1}, {1, 1, 1}, {0, 0, 0}, {1, 1, 1}, 1), volumes, 4);
  const Layer layer = convolution({5, 4, 5, 1, 1}, {1, 1, 1}, {0, 0, 0}, {1, 1, 1}, 1);
  CHECK_THROWS_AS(accumulate_gram(layer, volumes, {.d = 5}, alone), DataError);  // four planes for five taps
}

TEST_CASE("energies of the input channels of transposed convolutions") {
  Layer layer = convolution({4, 3, 2, 2}, {2, 2}, {0, 0}, {1, 1}, 1);
  layer.transposed = true;
  const auto x = images(4, 5, 6);
  at::Tensor expected = at::zeros({4}, at::kDouble);
  for (const at::Tensor& input : x) expected += input.to(at::kDouble).square().sum({0, 2, 3});
  const auto one = accumulate_channel_energies(layer, x, 1, alone);
  REQUIRE(one.size() == 4);
  for (std::int64_t c = 0; c < 4; ++c)
    CHECK(std::abs(one[static_cast<std::size_t>(c)] / expected[c].item<double>() - 1) < 1e-6);
  CHECK(accumulate_channel_energies(layer, x, 3, alone) == one);
  // Where taps do not meet, an error of one row costs its energy times the channel's, exactly.
  const at::Tensor error = at::zeros({4, 3, 2, 2}, at::kDouble);
  error[2].copy_(at::randn({3, 2, 2}, at::kDouble));
  double cost = 0;
  for (const at::Tensor& input : x)
    cost += at::conv_transpose2d(input.to(at::kDouble), error, {}, {2, 2}).square().sum().item<double>();
  CHECK(std::abs(error.square().sum().item<double>() * one[2] / cost - 1) < 1e-6);
  CHECK_THROWS_AS(accumulate_channel_energies(layer, images(5, 5, 6), 1, alone), DataError);
}
