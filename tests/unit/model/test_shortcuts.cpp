// Which layers' outputs are added to something that is there already.
#include "bitfall/network.hpp"
#include "catch.hpp"
#include "script_models.hpp"

namespace bitfall::test {
namespace {

Network network_with(const std::string& sum) {
  torch::jit::Module net = empty_module("Sums");
  add_weights(net, "conv1", {4, 3, 3, 3}, 1, false);
  add_weights(net, "conv2", {4, 4, 3, 3}, 2, true);
  add_batch_norm(net, "bn", 4, 10);
  net.define(R"(
    def forward(self, x):
        a = torch.relu_(torch.conv2d(x, self.conv1.weight, None, [1, 1], [1, 1], [1, 1], 1))
)" + sum + R"(
        return torch.flatten(torch.adaptive_avg_pool2d(c, [1, 1]), 1)
  )");
  return Network::from_bytes(bytes_of(net), "net.pt");
}

const std::string convolution =
    "torch.conv2d(a, self.conv2.weight, self.conv2.bias, [1, 1], [1, 1], [1, 1], 1)";

std::int64_t step_of(const Network& network, const std::string& layer) {
  for (const Layer& known : network.layers())
    if (known.name == layer) return known.steps.front();
  return -1;
}

}  // namespace

TEST_CASE("a layer that is added to its block's input has a shortcut", "[network]") {
  for (const std::string& sum : {"        c = self.bn.forward(" + convolution + ") + a\n",
                                 "        c = a + self.bn.forward(" + convolution + ")\n",
                                 "        c = self.bn.forward(" + convolution + ")\n        c += a\n"}) {
    const Network network = network_with(sum);
    const std::int64_t step = step_of(network, "conv2");
    REQUIRE(network.has_shortcut(step));
    REQUIRE(network.shortcut_norm(step) != nullptr);
    CHECK(network.shortcut_norm(step)->name == "bn");
    CHECK_FALSE(network.has_shortcut(step_of(network, "conv1")));
    const at::Tensor input = values({2, 3, 5, 6}, 7);
    LiveValues live = network.start(input.clone());
    for (std::int64_t i = 0; i < step; ++i) network.run_step(i, live);
    CHECK(same_bits(network.shortcut(step, live), network.step_input(step, live)));
    CHECK(network.shortcut(step, live).sizes() == at::IntArrayRef{2, 4, 5, 6});
  }
  const Network plain = network_with("        c = " + convolution + " + a\n");
  REQUIRE(plain.has_shortcut(step_of(plain, "conv2")));
  CHECK(plain.shortcut_norm(step_of(plain, "conv2")) == nullptr);
}

TEST_CASE("sums that are of another kind, or whose other addend comes later, are no shortcuts", "[network]") {
  for (const std::string& sum :
       {"        c = torch.add(" + convolution + ", a, alpha=2)\n", "        c = " + convolution + " * a\n",
        "        b = " + convolution + "\n        c = b + torch.relu(a)\n",
        "        b = " + convolution + "\n        c = b + b\n",
        "        b = " + convolution + "\n        c = b + 1.0\n",
        "        b = " + convolution + "\n        c = torch.relu(b) + a + b\n"}) {
    const Network network = network_with(sum);
    INFO(sum);
    CHECK_FALSE(network.has_shortcut(step_of(network, "conv2")));
  }
}

}  // namespace bitfall::test
