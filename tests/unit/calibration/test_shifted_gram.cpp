// The Gram matrix from shifted products against the unfolded input multiplied by itself.
#include "calibration/shifted_gram.hpp"

#include <ATen/ops/randn.h>
#include <hwy/highway.h>

#include <cmath>
#include <vector>

#include "bitfall/calibration.hpp"
#include "catch.hpp"
#include "gram_oracle.hpp"

using namespace bitfall;
using namespace bitfall::test;

namespace {

void check(const Layer& layer, const std::vector<at::Tensor>& inputs, std::int64_t rows, int threads) {
  std::vector<at::Tensor> parts;
  for (const at::Tensor& input : inputs) parts.push_back(unfolded(layer, input));
  const at::Tensor x = at::cat(parts);
  const at::Tensor expected = at::matmul(x.t(), x).contiguous();
  const FullGram gram = accumulate_full_gram(layer, inputs, {.rows = rows, .seed = 1, .threads = threads},
                                             Communicator::self());
  REQUIRE(gram.samples == x.size(0));
  const double largest = expected.abs().max().item<double>();
  const double* value = expected.const_data_ptr<double>();
  for (std::int64_t a = 0; a < gram.columns; ++a)
    for (std::int64_t b = 0; b <= a; ++b)
      REQUIRE(std::abs(gram.lower[static_cast<std::size_t>(a * (a + 1) / 2 + b)] -
                       value[a * gram.columns + b]) <= 1e-5 * largest);
}

WindowShape shape_of(std::int64_t channels, std::int64_t kernel, std::int64_t stride, std::int64_t dilation) {
  WindowShape shape;
  shape.channels = channels;
  for (int axis = 0; axis < 2; ++axis) {
    shape.kernel[axis] = kernel;
    shape.stride[axis] = stride;
    shape.dilation[axis] = dilation;
  }
  return shape;
}

}  // namespace

TEST_CASE("which windows have shifted products") {
  CHECK(ShiftedGram::fits(shape_of(16, 3, 1, 1)));
  CHECK(ShiftedGram::fits(shape_of(64, 2, 1, 1)));
  CHECK_FALSE(ShiftedGram::fits(shape_of(16, 1, 1, 1)));  // no two taps to share anything
  CHECK_FALSE(ShiftedGram::fits(shape_of(16, 5, 1, 1)));
  CHECK_FALSE(ShiftedGram::fits(shape_of(16, 3, 2, 1)));
  CHECK_FALSE(ShiftedGram::fits(shape_of(16, 3, 1, 2)));
  CHECK_FALSE(ShiftedGram::fits(shape_of(20, 3, 1, 1)));
}

TEST_CASE("shifted products give the whole Gram matrix at every border") {
  for (const std::int64_t padding : {0, 1, 2}) {
    for (const std::int64_t channels : {16, 48}) {
      const Layer layer = convolution({4, channels, 3, 3}, {1, 1}, {padding, padding}, {1, 1}, 1);
      // Of several sizes, down to a single output; the last one is longer than one float sum.
      check(layer, {at::randn({2, channels, 7, 5}), at::randn({1, channels, 3, 3})}, 0, 2);
      if (padding > 0) check(layer, {at::randn({3, channels, 1, 2})}, 0, 1);
    }
  }
  const Layer layer = convolution({4, 16, 3, 3}, {1, 1}, {1, 1}, {1, 1}, 1);
  check(layer, {at::randn({9, 16, 20, 18})}, 0, 1);
  check(layer, {at::randn({2, 16, 60, 50})}, 0, 2);
}

TEST_CASE("shifted products of windows that are not square") {
  check(convolution({4, 16, 1, 3}, {1, 1}, {0, 1}, {1, 1}, 1), {at::randn({2, 16, 4, 6})}, 0, 1);
  check(convolution({4, 16, 3, 1}, {1, 1}, {2, 0}, {1, 1}, 1), {at::randn({2, 16, 4, 6})}, 0, 1);
  check(convolution({4, 32, 2, 2}, {1, 1}, {1, 1}, {1, 1}, 1), {at::randn({2, 32, 3, 3})}, 0, 3);
}

TEST_CASE("half of the positions wanted: all are summed") {
  const Layer layer = convolution({4, 16, 3, 3}, {1, 1}, {1, 1}, {1, 1}, 1);
  const std::vector<at::Tensor> inputs{at::randn({3, 16, 6, 6})};  // 108 rows
  check(layer, inputs, 54, 1);
  const FullGram few = accumulate_full_gram(layer, inputs, {.rows = 51, .seed = 1}, Communicator::self());
  CHECK(few.samples == 51);
}

TEST_CASE("shifted products have the same bits on every instruction set and number of threads") {
  const Layer layer = convolution({4, 32, 3, 3}, {1, 1}, {1, 1}, {1, 1}, 1);
  const std::vector<at::Tensor> inputs{at::randn({5, 32, 6, 7}), at::randn({2, 32, 6, 7})};
  const auto run = [&](int threads) {
    return accumulate_full_gram(layer, inputs, {.threads = threads}, Communicator::self()).lower;
  };
  const auto expected = run(1);
  CHECK(run(3) == expected);
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    if (target > HWY_AVX2) continue;  // those without fused multiply-adds round twice
    hwy::SetSupportedTargetsForTest(target);
    CHECK(run(1) == expected);
  }
  hwy::SetSupportedTargetsForTest(0);
}
