// Which channels can change places. The oracle is the network itself: whatever is said to be free is
// shuffled, and the logits must stay what they were.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <numeric>
#include <sstream>

#include "bitfall/channels.hpp"
#include "bitfall/network.hpp"
#include "bitfall/random.hpp"
#include "catch.hpp"
#include "script_models.hpp"

namespace bitfall::test {
namespace {

ChannelOrders shuffled(const ChannelGraph& graph, std::uint64_t seed) {
  ChannelOrders orders;
  for (std::size_t s = 0; s < graph.streams.size(); ++s) {
    orders.emplace_back();
    if (!graph.streams[s].obstacle.empty()) continue;
    orders[s].resize(static_cast<std::size_t>(graph.streams[s].channels));
    std::iota(orders[s].begin(), orders[s].end(), std::int64_t{0});
    for (std::size_t i = orders[s].size(); i-- > 1;)
      std::swap(orders[s][i], orders[s][random_below(seed, s, i, i + 1)]);
  }
  return orders;
}

/// Shuffles everything that is free and compares the logits; returns the numbers of channels of the free
/// streams, sorted.
std::vector<std::int64_t> free_channels(const std::string& bytes, const at::Tensor& input) {
  std::vector<std::int64_t> channels;
  for (const std::uint64_t seed : {1, 2}) {
    Network network = Network::from_bytes(bytes, "net.pt");
    const ChannelGraph graph = find_channels(network);
    const at::Tensor expected = network.forward(input.clone());
    permute_channels(network, graph, shuffled(graph, seed));
    const double scale = largest_difference(expected, expected.mul(0));
    REQUIRE(scale > 0);
    CHECK(largest_difference(network.forward(input.clone()), expected) < 2e-5 * scale);
    channels.clear();
    for (const ChannelStream& stream : graph.streams)
      if (stream.obstacle.empty()) channels.push_back(stream.channels);
    std::sort(channels.begin(), channels.end());
  }
  return channels;
}

std::vector<std::int64_t> free_channels(const torch::jit::Module& net) {
  return free_channels(bytes_of(net), values({2, 3, 12, 12}, 99));
}

using Sizes = std::vector<std::int64_t>;

/// conv (3 -> 6), bn, conv2 (6 -> 6), fc (6 -> 5) and whatever `body` makes of x.
torch::jit::Module toy() {
  torch::jit::Module net = empty_module();
  add_weights(net, "conv", {6, 3, 3, 3}, 1, true);
  add_batch_norm(net, "bn", 6, 10);
  add_weights(net, "conv2", {6, 6, 3, 3}, 2, true);
  add_weights(net, "fc", {5, 6}, 3, true);
  return net;
}

constexpr const char* convolve = "torch.conv2d(x, self.conv.weight, self.conv.bias, [1, 1], [1, 1])";
constexpr const char* convolve2 = "torch.conv2d(y, self.conv2.weight, self.conv2.bias, [1, 1], [1, 1])";
constexpr const char* classify =
    "    return torch.linear(torch.flatten(torch.adaptive_avg_pool2d(z, [1, 1]), 1), self.fc.weight, "
    "self.fc.bias)\n";

/// `y = convolve(x)`, then `body`, which makes z of y.
std::vector<std::int64_t> free_of(torch::jit::Module net, const std::string& body) {
  net.define("def forward(self, x):\n    y = " + std::string(convolve) + "\n" + body + classify);
  return free_channels(net);
}

}  // namespace

TEST_CASE("producers and consumers of one residual stream move together", "[channels]") {
  torch::jit::Module net = empty_module();
  add_weights(net, "conv1", {8, 3, 3, 3}, 1, false);
  add_batch_norm(net, "bn1", 8, 10);
  add_weights(net, "inner", {12, 8, 3, 3}, 2, false);
  add_batch_norm(net, "bn2", 12, 20);
  add_weights(net, "outer", {8, 12, 3, 3}, 3, true);
  add_batch_norm(net, "bn3", 8, 30);
  add_weights(net, "down", {10, 8, 1, 1}, 4, true);
  add_weights(net, "wide", {10, 8, 3, 3}, 5, false);
  add_weights(net, "fc", {5, 10}, 6, true);
  net.define(R"(
    def forward(self, x):
        a = torch.max_pool2d(torch.relu_(self.bn1.forward(torch.conv2d(x, self.conv1.weight))), [2, 2], [2, 2])
        b = torch.relu(self.bn2.forward(torch.conv2d(a, self.inner.weight, None, [1, 1], [1, 1])))
        b = self.bn3.forward(torch.conv2d(b, self.outer.weight, self.outer.bias, [1, 1], [1, 1]))
        b.add_(a)
        b = torch.relu(b)
        c = torch.conv2d(b, self.wide.weight, None, [2, 2], [1, 1])
        c = c + torch.conv2d(b, self.down.weight, self.down.bias, [2, 2])
        return torch.linear(torch.flatten(torch.adaptive_avg_pool2d(c, [1, 1]), 1), self.fc.weight, self.fc.bias)
  )");
  CHECK(free_channels(net) == Sizes{8, 10, 12});
  const ChannelGraph graph = find_channels(Network::from_bytes(bytes_of(net), "net.pt"));
  // 11 weights, biases and batch-norm vectors on the stream of 8: four layers, twice four vectors, one bias.
  std::size_t uses = 0;
  for (const ChannelUse& use : graph.uses) {
    REQUIRE(use.runs.size() == 1);
    if (graph.streams[use.runs[0].stream].channels == 8) ++uses;
  }
  CHECK(uses == 2 + 3 + 8 + 1);  // made by conv1, outer; read by inner, wide, down; vectors; outer's bias
}

TEST_CASE("the residual network of the other tests", "[channels]") {
  // Its second convolution has groups, which fixes the stream that it reads and that its sum joins.
  CHECK(free_channels(residual_network()).empty());
}

TEST_CASE("depthwise convolutions pass channels on", "[channels]") {
  torch::jit::Module net = empty_module();
  add_weights(net, "expand", {12, 3, 1, 1}, 1, false);
  add_batch_norm(net, "bn1", 12, 10);
  add_weights(net, "depthwise", {12, 1, 3, 3}, 2, false);
  add_batch_norm(net, "bn2", 12, 20);
  add_weights(net, "project", {6, 12, 1, 1}, 3, false);
  add_weights(net, "double", {12, 1, 3, 3}, 4, true);  // two outputs for each of the 6 channels
  add_weights(net, "last", {7, 12, 1, 1}, 5, true);
  add_weights(net, "fc", {5, 7}, 6, true);
  net.define(R"(
    def forward(self, x):
        y = torch.hardtanh(self.bn1.forward(torch.conv2d(x, self.expand.weight)), 0., 6.)
        y = torch.conv2d(y, self.depthwise.weight, None, [1, 1], [1, 1], [1, 1], 12)
        y = torch.conv2d(torch.hardtanh(self.bn2.forward(y), 0., 6.), self.project.weight)
        y = torch.conv2d(y, self.double.weight, self.double.bias, [2, 2], [1, 1], [1, 1], 6)
        y = torch.conv2d(torch.relu(y), self.last.weight, self.last.bias)
        return torch.linear(y.mean([2, 3]), self.fc.weight, self.fc.bias)
  )");
  CHECK(free_channels(net) == Sizes{6, 7, 12});
}

TEST_CASE("dense blocks: a cat puts streams side by side", "[channels]") {
  torch::jit::Module net = empty_module();
  add_weights(net, "conv0", {6, 3, 3, 3}, 1, false);
  add_batch_norm(net, "bn1", 6, 10);
  add_weights(net, "conv1", {4, 6, 3, 3}, 2, false);
  add_batch_norm(net, "bn2", 10, 20);
  add_weights(net, "conv2", {4, 10, 3, 3}, 3, true);
  add_batch_norm(net, "bn3", 14, 30);
  add_weights(net, "fc", {5, 14}, 4, true);
  net.define(R"(
    def forward(self, x):
        features = [torch.conv2d(x, self.conv0.weight, None, [2, 2])]
        a = torch.relu(self.bn1.forward(torch.cat(features, 1)))
        features.append(torch.conv2d(a, self.conv1.weight, None, [1, 1], [1, 1]))
        b = torch.relu(self.bn2.forward(torch.cat(features, 1)))
        features.append(torch.conv2d(b, self.conv2.weight, self.conv2.bias, [1, 1], [1, 1]))
        c = torch.relu_(self.bn3.forward(torch.cat(features, 1)))
        return torch.linear(torch.flatten(torch.adaptive_avg_pool2d(c, [1, 1]), 1), self.fc.weight, self.fc.bias)
  )");
  CHECK(free_channels(net) == Sizes{4, 4, 6});
}

TEST_CASE("a flatten makes a run of columns of each channel", "[channels]") {
  for (const std::string flat :
       {"torch.flatten(y, 1)", "y.view(y.size(0), -1)", "y.reshape(y.shape[0], -1)"}) {
    INFO(flat);
    torch::jit::Module net = toy();
    add_weights(net, "fc1", {9, 6 * 36}, 7, true);
    add_weights(net, "fc2", {5, 9}, 8, true);
    net.define("def forward(self, x):\n    y = torch.max_pool2d(" + std::string(convolve) +
               ", [2, 2])\n    y = " + flat +
               "\n    y = torch.relu(torch.linear(y, self.fc1.weight, self.fc1.bias))\n"
               "    return torch.linear(y, self.fc2.weight, self.fc2.bias)\n");
    CHECK(free_channels(net) == Sizes{6, 9});
  }
  // A view to a constant is a flatten only where there is one position.
  torch::jit::Module net = toy();
  net.define("def forward(self, x):\n    y = torch.adaptive_avg_pool2d(" + std::string(convolve) +
             ", [1, 1]).view([-1, 6])\n    return torch.linear(y, self.fc.weight, self.fc.bias)\n");
  CHECK(free_channels(net) == Sizes{6});
  torch::jit::Module mixed = toy();
  mixed.define("def forward(self, x):\n    y = torch.adaptive_avg_pool2d(" + std::string(convolve) +
               ", [2, 2]).view([-1, 6])\n    return torch.linear(y, self.fc.weight, self.fc.bias)\n");
  CHECK(free_channels(mixed).empty());
}

TEST_CASE("channels through linear layers of old traces", "[channels]") {
  torch::jit::Module net = toy();
  add_weights(net, "fc1", {7, 6}, 7, true);
  add_weights(net, "fc2", {5, 7}, 8, false);
  net.define("def forward(self, x):\n    y = " + std::string(convolve) + R"(.mean([2, 3])
    y = torch.relu(torch.addmm(self.fc1.bias, y, self.fc1.weight.t()))
    return torch.matmul(y, self.fc2.weight.t())
)");
  CHECK(free_channels(net) == Sizes{6, 7});
}

TEST_CASE("shortcuts of option A: channels are padded", "[channels]") {
  torch::jit::Module net = toy();
  add_weights(net, "wide", {12, 6, 3, 3}, 7, false);
  add_weights(net, "inner", {9, 12, 3, 3}, 8, false);
  add_weights(net, "outer", {12, 9, 3, 3}, 9, false);
  add_weights(net, "last", {5, 12}, 11, true);
  net.define("def forward(self, x):\n    y = " + std::string(convolve) + R"(
    short = torch.constant_pad_nd(y[:, :, ::2, ::2], [0, 0, 0, 0, 3, 3], 0.)
    z = torch.relu(torch.conv2d(y, self.wide.weight, None, [2, 2], [1, 1]) + short)
    w = torch.relu(torch.conv2d(z, self.inner.weight, None, [1, 1], [1, 1]))
    z = torch.relu(torch.conv2d(w, self.outer.weight, None, [1, 1], [1, 1]) + z)
    return torch.linear(z.mean([2, 3]), self.last.weight, self.last.bias)
)");
  CHECK(free_channels(net) == Sizes{9});  // what both ends of the shortcut touch stays
  for (const ChannelStream& stream : find_channels(Network::from_bytes(bytes_of(net), "net.pt")).streams) {
    if (stream.channels == 6) CHECK(stream.obstacle == "aten::constant_pad_nd is on their way");
    if (stream.channels == 12) CHECK(stream.obstacle == "aten::add joins channels that are cut differently");
  }
}

TEST_CASE("squeeze and excitation", "[channels]") {
  torch::jit::Module net = toy();
  add_weights(net, "squeeze", {3, 6, 1, 1}, 7, true);
  add_weights(net, "excite", {6, 3, 1, 1}, 8, true);
  CHECK(free_of(net, R"(
    s = torch.relu(torch.conv2d(torch.adaptive_avg_pool2d(y, 1), self.squeeze.weight, self.squeeze.bias))
    z = torch.sigmoid(torch.conv2d(s, self.excite.weight, self.excite.bias)) * y
)") == Sizes{3, 6});
}

TEST_CASE("a map of one channel is broadcast", "[channels]") {
  torch::jit::Module net = toy();
  add_weights(net, "attention", {1, 6, 3, 3}, 7, true);
  CHECK(
      free_of(net,
              "    z = y * torch.sigmoid(torch.conv2d(y, self.attention.weight, self.attention.bias, [1, 1], "
              "[1, 1]))\n") == Sizes{6});
}

TEST_CASE("parameters that are added or multiplied", "[channels]") {
  const auto with = [](at::IntArrayRef shape, bool buffer) {
    torch::jit::Module net = toy();
    if (buffer)
      net.register_buffer("scale", values(shape, 50));
    else
      net.register_parameter("scale", values(shape, 50), false);
    return net;
  };
  const std::string times = "    z = y * self.scale\n";
  CHECK(free_of(with({6, 1, 1}, false), times) == Sizes{6});
  CHECK(free_of(with({1, 6, 1, 1}, true), times) == Sizes{6});
  CHECK(free_of(with({1, 6, 12, 12}, false), times) == Sizes{6});  // a value for each place, too
  CHECK(free_of(with({12, 12}, false), times) == Sizes{6});
  CHECK(free_of(with({12}, false), times) == Sizes{6});
  CHECK(free_of(with({1}, false), "    z = (y / 2.0 + 1) * self.scale - 1.5\n") == Sizes{6});
  CHECK(free_of(with({6, 1, 1}, false), "    z = y * (self.scale + 1)\n").empty());  // computed
  // The same tensor along channels here and along positions there.
  CHECK(free_of(with({12, 12}, false),
                "    z = y * self.scale\n    w = torch.conv2d(z, self.conv2.weight) * "
                "self.scale[0:6, 0].reshape([6, 1, 1])\n    z = z + w.mean()\n")
            .empty());
  torch::jit::Module square = toy();
  add_weights(square, "wide", {12, 6, 1, 1}, 60, false);
  add_weights(square, "back", {6, 12, 1, 1}, 61, false);
  square.register_parameter("scale", values({12, 1, 12}, 62), false);
  CHECK(free_of(square,
                "    w = torch.conv2d(y, self.wide.weight) * self.scale\n"
                "    z = torch.conv2d(w, self.back.weight)\n") == Sizes{6, 6, 12});
}

TEST_CASE("what fixes the order of channels", "[channels]") {
  const auto fixed = [](const std::string& body) { return free_of(toy(), body).empty(); };
  CHECK(fixed("    z = y.view([-1, 2, 3, 12, 12]).transpose(1, 2).reshape([-1, 6, 12, 12])\n"));  // shuffled
  CHECK(fixed("    z = torch.softmax(y, 1)\n"));
  CHECK(fixed("    z = y - y.flip([1])\n"));
  CHECK(fixed("    z = y + torch.constant_pad_nd(y[:, 0:3], [0, 0, 0, 0, 0, 3], 0.)\n"));
  CHECK(fixed("    z = y + torch.cat([x, x], 1)\n"));  // the images' channels
  CHECK(fixed("    z = torch.cat([y[:, 3:], y[:, 0:3]], 1)\n"));
  CHECK(fixed("    z = torch.group_norm(y, 3)\n"));
  CHECK(fixed("    y[:, 0] = 1.0\n    z = y\n"));  // through a view
  CHECK(fixed("    y.transpose(1, 2)[:, :, 2].mul_(2.0)\n    z = y\n"));
  CHECK(fixed("    z = y\n    if bool(torch.gt(y[0, 1, 0, 0], 0.)):\n        z = y * 2\n"));
  CHECK(fixed("    z = torch.cumsum(y, 1)\n"));
  CHECK(fixed("    z = y * torch.linspace(0., 1., 6).reshape([6, 1, 1])\n"));
  CHECK(
      fixed("    z = y.mean([1], True) + y * 0.5 + torch.pixel_shuffle(torch.cat([y, y], 1), 2)[:, 0:1, "
            "0:12, 0:12]\n"));
}

TEST_CASE("what leaves channels alone", "[channels]") {
  const auto is_free = [](const std::string& body) { return free_of(toy(), body) == Sizes{6}; };
  CHECK(is_free("    z = torch.avg_pool2d(torch.gelu(y), [2, 2])\n"));
  CHECK(is_free("    z = torch.constant_pad_nd(y, [1, 1, 1, 1], 0.)[:, :, 1:, ::2]\n"));
  CHECK(is_free("    z = self.bn.forward(torch.dropout(y, 0.5, False)).clone()\n"));
  CHECK(is_free("    a = y\n    a.mul_(2.0)\n    z = torch.relu_(y) + a\n"));
  CHECK(is_free("    z = torch.cat([y, y * 2.0], 3)\n"));
  CHECK(is_free("    pair = (y, y * 2.0)\n    z = pair[0] - pair[1] * pair[1]\n"));
  CHECK(is_free("    z = torch.upsample_nearest2d(y, [24, 24])\n"));
  CHECK(is_free("    z = y / torch.clamp(y.abs().mean([2, 3], True), 0.1)\n"));
}

TEST_CASE("weights that are used twice", "[channels]") {
  // The same layer on two streams makes them one.
  CHECK(free_of(toy(), "    w = " + std::string(convolve2) + "\n    y = torch.relu(w)\n    z = " + convolve2 +
                           "\n") == Sizes{6});
  // Also read in another way.
  CHECK(free_of(toy(), "    z = " + std::string(convolve2) + " + self.conv2.weight.sum()\n").empty());
  CHECK(free_of(toy(), "    z = " + std::string(convolve2) + " + self.conv.bias[0]\n").empty());
  // Also in a branch.
  CHECK(
      free_of(
          toy(),
          "    z = " + std::string(convolve2) +
              "\n    if bool(torch.gt(x[0, 0, 0, 0], 0.)):\n        z = z + self.conv2.weight[0, 0, 0, 0]\n")
          .empty());
  CHECK(free_of(toy(),
                "    w = self.conv2.weight\n    if bool(torch.gt(x[0, 0, 0, 0], 0.)):\n        w = w * 2\n   "
                " z = " +
                    std::string(convolve2) + "\n    z = z + torch.conv2d(y, w, None, [1, 1], [1, 1])\n")
            .empty());
  // One tensor under two names, and two tensors over the same memory.
  torch::jit::Module tied = toy();
  torch::jit::Module other = empty_module("Tied");
  torch::jit::Module child("__torch__.Tied", tied._ivalue()->compilation_unit());
  child.register_parameter("weight", tied.attr("conv2").toModule().attr("weight").toTensor(), false);
  tied.register_module("tied", child);
  CHECK(free_of(tied, "    z = " + std::string(convolve2) +
                          "\n    z = z + torch.conv2d(y, self.tied.weight, None, [1, 1], "
                          "[1, 1])\n") == Sizes{6, 6});
  torch::jit::Module overlapping = toy();
  torch::jit::Module view("__torch__.Overlapping", overlapping._ivalue()->compilation_unit());
  view.register_parameter(
      "weight", overlapping.attr("conv2").toModule().attr("weight").toTensor().transpose(0, 1), false);
  overlapping.register_module("view", view);
  CHECK(free_of(overlapping, "    w = torch.relu(" + std::string(convolve2) +
                                 ")\n    z = torch.conv2d(w, self.view.weight, None, [1, 1], [1, 1])\n")
            .empty());
}

TEST_CASE("lists that change where they can't be followed", "[channels]") {
  torch::jit::Module net = toy();
  add_weights(net, "merge", {6, 18, 1, 1}, 7, false);
  CHECK(free_of(net, R"(
    parts = [y]
    for i in range(int(x.size(0))):
        parts.append(y * 2.0)
    z = torch.conv2d(torch.cat(parts, 1), self.merge.weight)
)")
            .empty());
}

TEST_CASE("sums of streams that are cut differently", "[channels]") {
  torch::jit::Module net = toy();
  add_weights(net, "left", {2, 6, 1, 1}, 7, true);
  add_weights(net, "right", {4, 6, 1, 1}, 8, true);
  CHECK(free_of(net, "    z = torch.relu(" + std::string(convolve2) + R"()
    z = z + torch.cat([torch.conv2d(y, self.left.weight, self.left.bias), torch.conv2d(y, self.right.weight)], 1)
)") == Sizes{6});
}

TEST_CASE("transposed convolutions, slopes and shapes", "[channels]") {
  torch::jit::Module net = toy();
  net.register_parameter("up", values({6, 7, 2, 2}, 70), false);
  net.register_parameter("up_bias", values({7}, 71), false);
  net.register_parameter("slopes", values({7}, 72), false);
  add_weights(net, "back", {6, 7, 1, 1}, 73, true);
  CHECK(free_of(net, R"(
    w = torch.prelu(torch.conv_transpose2d(y, self.up, self.up_bias, [2, 2]), self.slopes)
    z = torch.conv2d(w, self.back.weight, self.back.bias) * (y.size(2) + y.dim())
)") == Sizes{6, 6, 7});
}

TEST_CASE("the output has its order", "[channels]") {
  torch::jit::Module net = toy();
  net.define("def forward(self, x):\n    return " + std::string(convolve) + ".mean([2, 3])\n");
  CHECK(free_channels(net).empty());
}

TEST_CASE("ResNet-20 with shortcuts of option A", "[real]") {
  const char* shared = std::getenv("BITFALL_SHARED");
  const std::filesystem::path path =
      std::filesystem::path(shared == nullptr ? "" : shared) / "data/cifar10/resnet20.pt";
  if (shared == nullptr || !std::filesystem::exists(path)) {
    std::cout << "skipped: no data/cifar10/resnet20.pt under BITFALL_SHARED\n";
    return;
  }
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  // The inside of each of the nine blocks; the streams between them are padded and stay.
  CHECK(free_channels(text.str(), values({2, 3, 32, 32}, 2)) == Sizes{16, 16, 16, 32, 32, 32, 64, 64, 64});
}

}  // namespace bitfall::test
