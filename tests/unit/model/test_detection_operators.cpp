// Our nms and roi_align against figures that torchvision 0.26 gave for the same inputs.
#include <ATen/TensorOperators.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/jit/ir/irparser.h>
#include <torch/csrc/jit/runtime/interpreter.h>

#include <cmath>
#include <memory>
#include <vector>

#include "catch.hpp"
#include "model/detection_operators.hpp"

namespace bitfall::test {
namespace {

at::Tensor wave(at::IntArrayRef shape, double step, double (*function)(double)) {
  at::Tensor tensor = at::zeros(shape);
  for (std::int64_t i = 0; i < tensor.numel(); ++i)
    tensor.mutable_data_ptr<float>()[i] = static_cast<float>(function(step * static_cast<double>(i)));
  return tensor;
}

struct Case {
  double scale;
  std::int64_t height, width, sampling;
  bool aligned;
  std::vector<float> outputs;    ///< every 5th
  std::vector<float> gradients;  ///< every 11th
};

const std::vector<Case> cases = {
    {0.5,
     2,
     3,
     2,
     false,
     {-0.07244646F, 0.4553085F, 0.01868969F, 0, -0.742319F, 0.3039179F, 0.421243F, 0.5094719F, 0, 0},
     {0, 0.0204185F, 0.08670715F, 0, -0.1836015F, -0.2636877F, -0.4888524F, 0, -0.06779648F, 0, -0.5034083F}},
    {0.5,
     2,
     2,
     0,
     false,
     {-0.1628117F, 0.2951641F, 0, 0, 0.3963503F, 0, 0},
     {0, 0, 0.2270728F, 0, 0.107575F, -0.04970045F, -0.06374477F, 0, 0.05216955F, 0, 0.3326795F}},
    {1,
     1,
     2,
     -1,
     true,
     {-0.02182141F, -0.04713863F, 0.9070082F, 0},
     {0, 0.002437082F, 0.0382653F, 0, 0.03158172F, 0.05368892F, 0.003141777F, 0, -0.6481836F, -0.004437124F,
      -0.004437124F}},
    {0.25,
     2,
     2,
     1,
     true,
     {-0.2697125F, 0.3813379F, 0.7772356F, -0.9504586F, -0.5580813F, 0.9927664F, 0},
     {0.4453125F, 0, 0, 0, -0.02760877F, 0, -1.256264F, 0, 0, 0, 0}}};

void check_every(const at::Tensor& found, std::int64_t stride, const std::vector<float>& expected) {
  const at::Tensor plain = found.contiguous();
  REQUIRE((plain.numel() + stride - 1) / stride == static_cast<std::int64_t>(expected.size()));
  for (std::size_t i = 0; i < expected.size(); ++i)
    CHECK(std::abs(plain.const_data_ptr<float>()[static_cast<std::int64_t>(i) * stride] - expected[i]) <
          2e-6F);
}

at::Tensor call_roi_align(const at::Tensor& input, const at::Tensor& rois, const Case& c) {
  return c10::Dispatcher::singleton()
      .findSchemaOrThrow("torchvision::roi_align", "")
      .typed<at::Tensor(const at::Tensor&, const at::Tensor&, double, c10::SymInt, c10::SymInt, std::int64_t,
                        bool)>()
      .call(input, rois, c.scale, c.height, c.width, c.sampling, c.aligned);
}

const at::Tensor& regions() {
  static const at::Tensor rois = at::tensor({0.F, 1.F, 2.F, 9.F,  8.5F, 1.F, -3.F, -2.F, 4.F,  30.F,
                                             1.F, 5.F, 5.F, 5.2F, 5.1F, 0.F, 20.F, 20.F, 25.F, 25.F})
                                     .view({4, 5});
  return rois;
}

}  // namespace

TEST_CASE("roi_align and its gradient are torchvision's", "[detection]") {
  provide_detection_operators();
  const at::Tensor input = wave({2, 2, 5, 6}, 0.7, std::sin);
  for (const Case& c : cases) {
    const c10::AutoGradMode with_gradients(true);
    const at::Tensor leaf = input.clone().requires_grad_(true);
    const at::Tensor output = call_roi_align(leaf, regions(), c);
    CHECK(output.sizes() == at::IntArrayRef{4, 2, c.height, c.width});
    check_every(output.detach(), 5, c.outputs);
    const at::Tensor weights = wave(output.sizes(), 0.3, std::cos);
    const at::Tensor gradient = torch::autograd::grad({(output * weights).sum()}, {leaf})[0];
    check_every(gradient, 11, c.gradients);
    // The operator is linear in its input: <A x, w> = <x, A^T w>.
    const double left = (output.detach() * weights).to(at::kDouble).sum().item<double>();
    const double right = (input * gradient).to(at::kDouble).sum().item<double>();
    CHECK(std::abs(left - right) < 1e-5 * (1 + std::abs(left)));
  }
}

TEST_CASE("nms is torchvision's", "[detection]") {
  at::Tensor boxes = at::zeros({40, 4}), scores = at::zeros({40});
  for (std::int64_t i = 0; i < 40; ++i) {
    float* box = boxes.mutable_data_ptr<float>() + 4 * i;
    box[0] = static_cast<float>(7 * i % 23);
    box[1] = static_cast<float>(5 * i % 17);
    box[2] = box[0] + static_cast<float>(4 + i % 5);
    box[3] = box[1] + static_cast<float>(3 + i % 7);
    scores.mutable_data_ptr<float>()[i] = static_cast<float>(i * 37 % 41) / 41.0F;
  }
  scores[7] = scores[3];
  provide_detection_operators();
  const auto nms = c10::Dispatcher::singleton()
                       .findSchemaOrThrow("torchvision::nms", "")
                       .typed<at::Tensor(const at::Tensor&, const at::Tensor&, double)>();
  const auto kept = [&](double threshold) {
    const at::Tensor found = nms.call(boxes, scores, threshold);
    return std::vector<std::int64_t>(found.const_data_ptr<std::int64_t>(),
                                     found.const_data_ptr<std::int64_t>() + found.numel());
  };
  using Kept = std::vector<std::int64_t>;
  CHECK(kept(0.0) == Kept{31, 32, 33, 13, 7, 5});
  CHECK(kept(0.1) == Kept{31, 32, 33, 13, 7, 35, 15, 36, 0});
  CHECK(kept(0.3) == Kept{31, 11, 32, 12, 33, 13, 7, 14, 35, 25, 5, 36, 26, 6, 37, 38, 8, 20, 0});
  CHECK(kept(1.0).size() == 40);
  CHECK(nms.call(boxes.slice(0, 0, 0), scores.slice(0, 0, 0), 0.5).numel() == 0);
}

TEST_CASE("graphs find the operators by their names", "[detection]") {
  provide_detection_operators();
  auto graph = std::make_shared<torch::jit::Graph>();
  torch::jit::parseIR(R"(
graph(%boxes : Tensor, %scores : Tensor):
  %threshold : float = prim::Constant[value=0.5]()
  %kept : Tensor = torchvision::nms(%boxes, %scores, %threshold)
  return (%kept))",
                      graph.get());
  const at::Tensor boxes =
      at::tensor({0., 0., 2., 2., 0., 0., 2., 1.9, 5., 5., 6., 6.}, at::kFloat).view({3, 4});
  torch::jit::Stack stack = {boxes, at::tensor({0.1, 0.3, 0.2}, at::kFloat)};
  torch::jit::InterpreterState(torch::jit::Code(graph, "nms")).run(stack);
  const at::Tensor kept = stack.at(0).toTensor();
  REQUIRE(kept.numel() == 2);
  CHECK(kept[0].item<std::int64_t>() == 1);
  CHECK(kept[1].item<std::int64_t>() == 2);
}

}  // namespace bitfall::test
