// The second moments of loss gradients at layers' outputs against gradients of the same network written out.
#include "output_weights.hpp"

#include <ATen/ops/conv2d.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <array>
#include <cmath>

#include "../calibration/small_network.hpp"
#include "catch.hpp"

using namespace bitfall;
using namespace bitfall::test;

namespace {

using Weights = std::map<std::string, std::vector<double>>;

struct Fixture {
  CommonOptions options;
  Communicator alone = Communicator::self();
  Reporter reporter{false, "", false};
  Network network = small_network();

  Weights run(const std::vector<at::Tensor>& images, std::uint64_t seed, int threads = 1) {
    options.seed = seed;
    const JobContext context{options, alone, reporter, threads};
    return measure_output_weights(network, images, 0, context);
  }

  /// Squared gradients at conv2's and fc's outputs for one image with a label; softmax of its logits.
  std::pair<Weights, at::Tensor> written_out(const at::Tensor& image, std::int64_t label) {
    const at::Tensor x =
        at::relu(at::conv2d(image, network.tensor("conv1.weight"), {}, 1, 1) / std::sqrt(1 + 1e-5));
    const c10::AutoGradMode with_gradients(true);
    const at::Tensor y =
        at::conv2d(x, network.tensor("conv2.weight"), {}, 2, 1).detach().requires_grad_(true);
    const at::Tensor shortcut = x.slice(2, 0, c10::nullopt, 2).slice(3, 0, c10::nullopt, 2);
    const at::Tensor logits =
        at::linear((y + shortcut).mean({2, 3}), network.tensor("fc.weight"), network.tensor("fc.bias"));
    const at::Tensor loss = at::cross_entropy_loss(logits, at::tensor(std::array<std::int64_t, 1>{label}), {},
                                                   at::Reduction::Sum);
    const auto gradients = torch::autograd::grad({loss}, {y, logits});
    Weights weights;
    for (std::int64_t r = 0; r < 8; ++r)
      weights["conv2"].push_back(gradients[0].select(1, r).square().sum().item<double>());
    for (std::int64_t r = 0; r < 5; ++r)
      weights["fc"].push_back(gradients[1].select(1, r).square().sum().item<double>());
    return {weights, at::softmax(logits.detach(), 1)};
  }
};

bool close(const std::vector<double>& a, const std::vector<double>& b) {
  for (std::size_t i = 0; i < a.size(); ++i)
    if (std::abs(a[i] - b[i]) > 1e-4 * (std::abs(b[i]) + 1e-6)) return false;
  return a.size() == b.size();
}

}  // namespace

TEST_CASE("output weights are squared gradients of a label drawn from the network's softmax") {
  Fixture fixture;
  const at::Tensor image = small_images(1)[0];
  std::array<double, 5> drawn{};
  std::array<Weights, 5> candidates;
  at::Tensor shares;
  for (std::int64_t label = 0; label < 5; ++label)
    std::tie(candidates[static_cast<std::size_t>(label)], shares) = fixture.written_out(image, label);
  constexpr int seeds = 300;
  for (int seed = 0; seed < seeds; ++seed) {
    const Weights found = fixture.run({image}, static_cast<std::uint64_t>(seed));
    REQUIRE(found.size() == 3);
    REQUIRE(found.at("conv1").size() == 8);
    std::size_t matches = 0;
    for (std::size_t label = 0; label < 5; ++label) {
      if (!close(found.at("conv2"), candidates[label].at("conv2")) ||
          !close(found.at("fc"), candidates[label].at("fc")))
        continue;
      ++matches;
      drawn[label] += 1.0 / seeds;
    }
    REQUIRE(matches == 1);
  }
  for (std::size_t label = 0; label < 5; ++label)
    CHECK(drawn[label] == Approx(shares[0][static_cast<std::int64_t>(label)].item<double>()).margin(0.1));
}

TEST_CASE("output weights add up over images, whatever the micro-batches and threads") {
  Fixture fixture;
  const auto images = small_images(4);
  const Weights one = fixture.run(images, 3), two = fixture.run(images, 3, 2);
  CHECK(one == two);
  std::vector<at::Tensor> single;
  for (const at::Tensor& batch : images)
    for (std::int64_t i = 0; i < batch.size(0); ++i) single.push_back(batch.narrow(0, i, 1));
  const Weights again = fixture.run(single, 3);
  for (const auto& [name, weights] : one) CHECK(close(again.at(name), weights));
}
