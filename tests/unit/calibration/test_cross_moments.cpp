// The teacher's outputs times the student's inputs against dense products in double.
#include <ATen/ops/conv2d.h>
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

const Communicator alone = Communicator::self();

std::span<const float> values_of(const at::Tensor& weight) {
  return {weight.const_data_ptr<float>(), static_cast<std::size_t>(weight.numel())};
}

at::Tensor convolved(const Layer& layer, const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias) {
  return at::conv2d(x, w.reshape(layer.weight_shape), bias, layer.stride, layer.padding, layer.dilation);
}

}  // namespace

TEST_CASE("cross moments are sums of the teacher's outputs times the student's inputs") {
  auto student = small_images(4);
  std::vector<at::Tensor> teacher;
  for (const at::Tensor& images : student) teacher.push_back(images * 0.5 + at::randn(images.sizes()));
  for (const Layer& layer : small_layers()) {
    if (layer.groups > 1) continue;  // rows belong to one group each
    const at::Tensor w = at::randn({layer.rows(), layer.columns()}), bias = at::randn({layer.rows()}) * 3;
    const at::Tensor y = at::matmul(all_rows(layer, teacher), w.to(at::kDouble).t());
    const at::Tensor expected = at::matmul(y.t(), all_rows(layer, student));
    WantedOutput wanted{.weight = values_of(w), .teacher_inputs = teacher};
    check_close(accumulate_cross_moments(layer, wanted, student, {.threads = 2}, alone), expected, 1e-5);
    // What the teacher has made already, however it lies in memory, needs no weight.
    std::vector<at::Tensor> outputs;
    for (const at::Tensor& images : teacher) {
      outputs.push_back(convolved(layer, images, w, bias));
      if (outputs.size() % 2 == 0) outputs.back() = outputs.back().contiguous(at::MemoryFormat::ChannelsLast);
    }
    wanted = {.teacher_outputs = outputs, .bias = bias};
    check_close(accumulate_cross_moments(layer, wanted, student, {.threads = 2}, alone), expected, 1e-5);
    // Of sampled positions both ways take the same.
    const FullGramParameters some{.rows = 40, .seed = 3, .stream = 1};
    const auto made = accumulate_cross_moments(layer, wanted, student, some, alone);
    wanted = {.weight = values_of(w), .teacher_inputs = teacher};
    const auto found = accumulate_cross_moments(layer, wanted, student, some, alone);
    check_close(made, at::tensor(at::ArrayRef<double>(found)), 1e-5);
    // With the student's own inputs it is W H.
    const at::Tensor x = all_rows(layer, student);
    wanted.teacher_inputs = student;
    check_close(accumulate_cross_moments(layer, wanted, student, {}, alone),
                at::matmul(w.to(at::kDouble), at::matmul(x.t(), x)), 1e-5);
  }
}

TEST_CASE("cross moments make up for the shortcuts' difference, but in rows of no gain") {
  const auto student = small_images(3);
  const Layer layer = convolution({4, 3, 3, 3}, {2, 2}, {1, 1}, {1, 1}, 1);
  std::vector<at::Tensor> right, given, difference, outputs;
  const std::vector<float> gain{1, -0.5F, 0, 4};
  const at::Tensor w = at::randn({4, 27});
  for (const at::Tensor& images : student) {
    right.push_back(at::randn({images.size(0), 4, 5, 5}));
    given.push_back(at::randn({images.size(0), 4, 5, 5}));
    outputs.push_back(convolved(layer, images, w, {}));
    // rows of samples as `unfolded` has them: images, then positions
    difference.push_back((right.back() - given.back()).permute({0, 2, 3, 1}).reshape({-1, 4}));
  }
  const at::Tensor x = all_rows(layer, student);
  at::Tensor y = at::matmul(x, w.to(at::kDouble).t());
  const at::Tensor d = at::cat(difference).to(at::kDouble);
  for (std::int64_t r : {0, 1, 3}) y.select(1, r).add_(d.select(1, r) / double(gain[std::size_t(r)]));
  const at::Tensor expected = at::matmul(y.t(), x);
  WantedOutput wanted{.weight = values_of(w), .teacher_inputs = student, .shortcuts = {right, given, gain}};
  check_close(accumulate_cross_moments(layer, wanted, student, {.threads = 2}, alone), expected, 1e-5);
  check_close(accumulate_cross_moments(layer, {.teacher_outputs = outputs, .shortcuts = {right, given, gain}},
                                       student, {}, alone),
              expected, 1e-5);
  // Of another shape they can't be what the outputs are added to.
  std::vector<at::Tensor> other;
  for (const at::Tensor& images : student) other.push_back(at::randn({images.size(0), 4, 10, 10}));
  WantedOutput plain{.weight = values_of(w), .teacher_inputs = student};
  wanted.shortcuts = {other, other, gain};
  CHECK(accumulate_cross_moments(layer, wanted, student, {}, alone) ==
        accumulate_cross_moments(layer, plain, student, {}, alone));
}

TEST_CASE("there are no cross moments with a teacher whose tensors have other shapes") {
  const auto student = small_images(2);
  const Layer layer = convolution({4, 3, 3, 3}, {1, 1}, {1, 1}, {1, 1}, 1);
  const at::Tensor w = at::randn({4, 27});
  std::vector<at::Tensor> inputs, outputs;
  for (const at::Tensor& images : student) {
    inputs.push_back(at::cat({images, images}));
    outputs.push_back(convolved(layer, inputs.back(), w, {}));
  }
  CHECK(
      accumulate_cross_moments(layer, {.weight = values_of(w), .teacher_inputs = inputs}, student, {}, alone)
          .empty());
  CHECK(accumulate_cross_moments(layer, {.teacher_outputs = outputs}, student, {}, alone).empty());
  outputs.pop_back();
  CHECK(accumulate_cross_moments(layer, {.teacher_outputs = outputs}, student, {}, alone).empty());
}

TEST_CASE("a teacher's output that is NaN or infinite is refused by the layer's name") {
  const auto student = small_images(2);
  const Layer layer = convolution({4, 3, 3, 3}, {1, 1}, {1, 1}, {1, 1}, 1);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    std::vector<at::Tensor> outputs;
    for (const at::Tensor& images : student)
      outputs.push_back(convolved(layer, images, at::randn({4, 27}), {}));
    outputs[1].mutable_data_ptr<float>()[5] = bad;
    std::string message;
    try {
      (void)accumulate_cross_moments(layer, {.teacher_outputs = outputs}, student, {}, alone);
    } catch (const DataError& error) {
      message = error.what();
    }
    CHECK(message.find("layer 'block.conv'") != std::string::npos);
  }
}
