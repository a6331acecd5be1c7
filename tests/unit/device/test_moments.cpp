// Second moments and channel statistics by LibTorch's operators, as on a device, beside the host's kernels.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>

#include <cmath>

#include "../calibration/gram_oracle.hpp"
#include "../calibration/small_network.hpp"
#include "bitfall/calibration.hpp"
#include "calibration/device_moments.hpp"
#include "catch.hpp"
#include "model/device_copy.hpp"
#include "network_device.hpp"

using namespace bitfall;
using namespace bitfall::test;

namespace {

at::Tensor place(const at::Tensor& tensor) {
  return tensor.to(open_torch_device(network_device()));
}

/// Float sums of at most 4096 products, then double: a few units in the last place of the diagonal.
void require_moments(const Layer& layer, const at::Tensor& input, std::int64_t d) {
  const at::Tensor oracle = gram_oracle(layer, {input}, d);
  const at::Tensor found = device_moments(layer, place(input), d, true).cpu();
  REQUIRE(found.scalar_type() == at::kDouble);
  const at::Tensor diagonal = oracle.diagonal(0, 1, 2).clamp_min(1e-30).sqrt();
  const at::Tensor bound = diagonal.unsqueeze(2) * diagonal.unsqueeze(1);
  INFO("d = " << d << ", " << layer.columns() << " columns");
  REQUIRE(((found - oracle).abs() / bound).max().item<double>() < 3e-6);
  const at::Tensor pooled = device_moments(layer, place(input), d, false).cpu();
  REQUIRE(same(pooled, device_moments(layer, place(input), d, false).cpu()));
  REQUIRE(((pooled - oracle.sum(0, true)).abs() / bound.sum(0, true)).max().item<double>() < 3e-6);
}

}  // namespace

TEST_CASE("moments of convolutions of every kind") {
  at::manual_seed(1);
  for (const std::int64_t stride : {1, 2}) {
    for (const std::int64_t padding : {0, 1}) {
      const Layer layer = convolution({6, 4, 3, 3}, {stride, stride}, {padding, 0}, {1, 1}, 1);
      require_moments(layer, at::randn({3, 4, 9, 7}), 9);
      require_moments(layer, at::randn({1, 4, 12, 12}) * 1e4, 18);
    }
    require_moments(convolution({8, 12, 1, 1}, {stride, stride}, {0, 0}, {1, 1}, 1), at::randn({2, 12, 7, 9}),
                    4);
  }
  require_moments(convolution({6, 4, 3, 3}, {1, 1}, {1, 1}, {1, 1}, 2), at::randn({3, 8, 6, 6}), 9);
  require_moments(convolution({6, 4, 3, 3}, {1, 2}, {2, 2}, {2, 2}, 1), at::randn({2, 4, 9, 9}), 12);
}

TEST_CASE("moments of linear layers, in more rows than one float sum takes") {
  at::manual_seed(2);
  require_moments(linear(5, 16), at::randn({3, 16}), 4);
  require_moments(linear(5, 8), at::randn({9001, 8}) + 3, 4);
  require_moments(linear(5, 8), at::randn({2, 7, 8}), 8);
}

TEST_CASE("channel sums in double") {
  const at::Tensor input = at::randn({4, 3, 5, 7}) * 10 + 100;
  const at::Tensor centers = at::tensor(at::ArrayRef<double>{99.5, 0.0, -3.0});
  for (const int power : {1, 2}) {
    const at::Tensor found = device_channel_sums(place(input), place(centers), power).cpu();
    const at::Tensor expected =
        (input.to(at::kDouble) - centers.view({1, 3, 1, 1})).pow(power).sum({0, 2, 3});
    REQUIRE(((found - expected).abs() / expected.abs()).max().item<double>() < 1e-13);
  }
}

TEST_CASE("a walk on a device finds the host's statistics") {
  const auto statistics = [](const std::string& device) {
    Network network = small_network();
    if (!device.empty()) network.use_device(device);
    std::vector<double> found;
    static_cast<void>(
        walk(network, small_images(3), {.threads = 2}, Communicator::self(), [&](const WalkStep& step) {
          if (const BatchNormStep* norm = network.batch_norm_of_step(step.step)) {
            reestimate_batch_norm(network, *norm, step, 2, Communicator::self());
          } else if (const auto index = network.layer_of_step(step.step)) {
            const Layer& layer = network.layers().at(*index);
            const Gram gram = accumulate_gram(layer, step.inputs, {.d = layer.columns() % 9 == 0 ? 9 : 4},
                                              Communicator::self());
            found.insert(found.end(), gram.pooled.begin(), gram.pooled.end());
            const FullGram full = accumulate_full_gram(layer, step.inputs, {}, Communicator::self());
            found.insert(found.end(), full.lower.begin(), full.lower.end());
            found.push_back(double(gram.samples));
          }
        }));
    return found;
  };
  const std::vector<double> host = statistics(""), device = statistics(network_device());
  REQUIRE(host.size() == device.size());
  double largest = 0;
  for (const double value : host) largest = std::max(largest, std::abs(value));
  for (std::size_t i = 0; i < host.size(); ++i) REQUIRE(std::abs(host[i] - device[i]) <= tolerance * largest);
  REQUIRE(device == statistics(network_device()));
}
