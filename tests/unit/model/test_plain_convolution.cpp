// Which convolutions' outputs are W x + bias, and what they are.
#include <ATen/ops/conv2d.h>

#include "bitfall/network.hpp"
#include "catch.hpp"
#include "script_models.hpp"

namespace bitfall::test {
namespace {

/// A network whose only layers are those of `body`, which makes y of x, [N, 4, H, W].
Network network_of(const std::string& body) {
  torch::jit::Module net = empty_module("Plain");
  add_weights(net, "conv", {4, 4, 3, 3}, 1, true);
  add_weights(net, "grouped", {4, 2, 3, 3}, 2, true);
  add_weights(net, "fc", {4, 4}, 3, true);
  net.define("def forward(self, x):\n  " + body + "\n  return torch.flatten(y.mean([-1]), 1)\n");
  return Network::from_bytes(bytes_of(net), "net.pt");
}

bool first_layer_is_plain(const std::string& body) {
  const Network network = network_of(body);
  return network.is_plain_convolution(network.layers().front().steps.front());
}

}  // namespace

TEST_CASE("a plain convolution's output and bias", "[network]") {
  for (const std::string bias : {"self.conv.bias", "None"}) {
    const Network network = network_of("y = torch.conv2d(x, self.conv.weight, " + bias + ").relu_()");
    const std::int64_t step = network.layers().front().steps.front();
    REQUIRE(network.is_plain_convolution(step));
    CHECK_FALSE(network.is_plain_convolution(step + 1));
    const at::Tensor input = values({2, 4, 5, 6}, 7), found = network.convolution_bias(step);
    REQUIRE(found.defined() == (bias != "None"));
    if (found.defined()) CHECK(same_bits(found, network.tensor("conv.bias")));
    LiveValues live = network.start(input.clone());
    for (std::int64_t i = 0; i <= step; ++i) network.run_step(i, live);
    CHECK(
        same_bits(network.step_output(step, live), at::conv2d(input, network.tensor("conv.weight"), found)));
  }
}

TEST_CASE("other layers are no plain convolutions", "[network]") {
  const std::string w = "self.conv.weight, self.conv.bias";
  CHECK(first_layer_is_plain("y = torch.conv2d(x, " + w + ", [2, 1], [1, 0], [1, 2], 1)"));
  CHECK_FALSE(
      first_layer_is_plain("y = torch.conv2d(x, self.grouped.weight, None, [1, 1], [0, 0], [1, 1], 2)"));
  CHECK_FALSE(first_layer_is_plain("y = torch.conv_transpose2d(x, " + w + ")"));
  CHECK_FALSE(first_layer_is_plain("y = torch.conv2d(torch.conv2d(x, " + w + "), " + w + ")"));
  CHECK_FALSE(first_layer_is_plain("y = torch.conv2d(x, self.conv.weight, self.conv.bias * 2)"));
  CHECK_FALSE(first_layer_is_plain("y = torch.linear(x.transpose(1, 3), self.fc.weight, self.fc.bias)"));
  CHECK_FALSE(first_layer_is_plain("y = torch.matmul(x.transpose(1, 3), torch.t(self.fc.weight))"));
}

}  // namespace bitfall::test
