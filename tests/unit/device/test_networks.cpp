// Passes on a device: the host's results, the same bits every time, and tensors that follow each other.
#include <ATen/TensorOperators.h>
#include <ATen/ops/full_like.h>

#include "../calibration/small_network.hpp"
#include "bitfall/errors.hpp"
#include "catch.hpp"
#include "close.hpp"
#include "model/device_copy.hpp"
#include "network_device.hpp"

using namespace bitfall;
using namespace bitfall::test;

TEST_CASE("a pass on a device gives what the host gives, again and again") {
  const Network host = small_network();
  Network network = small_network();
  REQUIRE_FALSE(network.on_device());
  network.use_device(network_device());
  REQUIRE(network.on_device());
  for (const at::Tensor& images : small_images(3)) {
    const at::Tensor first = network.forward(images.clone()).cpu();
    REQUIRE(close(first, host.forward(images.clone())));
    REQUIRE(same(first, network.forward(images.clone()).cpu()));
  }
  network.use_device("");
  REQUIRE_FALSE(network.on_device());
  const at::Tensor images = small_images(1)[0];
  REQUIRE(same(network.forward(images.clone()), host.forward(images.clone())));
}

TEST_CASE("tensors of host and device follow each other") {
  Network host = small_network(), network = small_network();
  network.use_device(network_device());
  const at::Tensor images = small_images(1)[0];
  const at::Tensor weight = host.tensor("conv2.weight") * 0.5;
  host.set_tensor("conv2.weight", weight);
  network.set_tensor("conv2.weight", weight);
  REQUIRE(close(network.forward(images.clone()), host.forward(images.clone())));

  const at::Tensor other = weight * 3;
  host.set_tensor("conv2.weight", other);
  network.set_tensor("conv2.weight", network.place(other));  // from the device
  REQUIRE(close(network.forward(images.clone()), host.forward(images.clone())));
  REQUIRE(same(network.tensor("conv2.weight"), other));

  network.set_tensor("fc.bias", network.place(at::full_like(network.tensor("fc.bias"), 2)));
  host.set_tensor("fc.bias", at::full_like(host.tensor("fc.bias"), 2));
  const Network saved = Network::from_bytes(network.save(), "saved.pt");
  REQUIRE(same(saved.forward(images.clone()), host.forward(images.clone())));
}

TEST_CASE("gradients on a device are the host's") {
  const Network host = small_network();
  Network network = small_network();
  network.use_device(network_device());
  const GradientRequest request{
      .tensors = {"conv2.weight", "fc.bias"}, .train_batch_norms = true, .outputs = {}};
  const auto gradients_of = [&](const Network& one) {
    LiveValues values = one.start(small_images(1)[0], request);
    for (std::int64_t step = 0; step < one.step_count(); ++step) one.run_step(step, values);
    const c10::AutoGradMode with_gradients(true);
    return one.gradients(values, one.output(values).square().sum());
  };
  const auto expected = gradients_of(host), found = gradients_of(network), again = gradients_of(network);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    REQUIRE(close(found[i], expected[i]));
    REQUIRE(same(found[i], again[i]));
  }
}

TEST_CASE("parameters inside control flow are refused: the device would not see them") {
  torch::jit::Module root("__torch__.Branch");
  root.register_parameter("weight", at::ones({5, 3}), false);
  root.define(R"(
def forward(self, x):
  y = torch.mean(x, [2, 3])
  if y.size(0) > 1:
    y = torch.linear(y, self.weight, None)
  else:
    y = torch.linear(y + 1, self.weight, None)
  return y
)");
  std::ostringstream bytes;
  root.save(bytes);
  Network network = Network::from_bytes(bytes.str(), "branch.pt");
  const Network host = Network::from_bytes(bytes.str(), "branch.pt");
  const at::Tensor images = small_images(1)[0];
  try {
    network.use_device(network_device());
    REQUIRE(close(network.forward(images.clone()), host.forward(images.clone())));
  } catch (const DataError& error) {
    REQUIRE(std::string(error.what()).find("--device cpu") != std::string::npos);
    REQUIRE_FALSE(network.on_device());
  }
}
