#include <ATen/TensorOperators.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/relu.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include "bitfall/network.hpp"
#include "catch.hpp"
#include "script_models.hpp"

namespace bitfall::test {
namespace {

using Sizes = std::vector<std::int64_t>;

/// A network of one convolution `call` on self.conv.weight of `shape`; other names: x, self.conv.bias.
Network one_convolution(const std::string& call, const Sizes& shape) {
  torch::jit::Module net = empty_module();
  add_weights(net, "conv", shape, 1, true);
  net.define("def forward(self, x):\n  return " + call + "\n");
  return Network::from_bytes(bytes_of(net), "net.pt");
}

Layer only_layer(const std::string& call, const Sizes& shape) {
  const Network network = one_convolution(call, shape);
  REQUIRE(network.layers().size() == 1);
  CHECK(network.layers()[0].name == "conv");
  CHECK(network.layers()[0].weight_shape == shape);
  return network.layers()[0];
}

}  // namespace

TEST_CASE("layers of a network", "[layers]") {
  const Network network = Network::from_bytes(bytes_of(residual_network()), "net.pt");
  REQUIRE(network.layers().size() == 3);
  const Layer& conv1 = network.layers()[0];
  CHECK(conv1.name == "conv1");
  CHECK(conv1.weight_name == "conv1.weight");
  CHECK(conv1.kind == LayerKind::convolution);
  CHECK(conv1.stride == Sizes{2, 2});
  CHECK(conv1.padding == Sizes{1, 1});
  CHECK(conv1.obstacle.empty());
  CHECK(conv1.steps == Sizes{0});
  const Layer& conv2 = network.layers()[1];
  CHECK(conv2.dilation == Sizes{2, 2});
  CHECK(conv2.padding == Sizes{2, 2});
  CHECK(conv2.groups == 2);
  CHECK(conv2.rows() == 8);
  CHECK(conv2.columns() == 36);
  CHECK(conv2.kernel_elements() == 9);
  const Layer& fc = network.layers()[2];
  CHECK(fc.kind == LayerKind::linear);
  CHECK(fc.weight_shape == Sizes{5, 8});
  CHECK(fc.obstacle.empty());
  CHECK(network.layer_of_step(fc.steps.front()) == std::optional<std::size_t>(2));
}

TEST_CASE("spellings of a convolution", "[layers]") {
  const Layer plain = only_layer("torch.conv2d(x, self.conv.weight)", {4, 3, 3, 3});
  CHECK(plain.stride == Sizes{1, 1});
  CHECK(plain.padding == Sizes{0, 0});
  const Layer raw = only_layer(
      "torch._convolution(x, self.conv.weight, self.conv.bias, [2, 1], [1, 0], [1, 2], False, [0, 0], 1, "
      "False, False, False, False)",
      {4, 3, 3, 3});
  CHECK(raw.stride == Sizes{2, 1});
  CHECK(raw.padding == Sizes{1, 0});
  CHECK(raw.dilation == Sizes{1, 2});
  CHECK(raw.obstacle.empty());
  const Layer newer = only_layer(
      "torch.convolution(x, self.conv.weight, None, [1, 1], [3, 3], [1, 1], False, [0, 0], 3)", {6, 1, 7, 7});
  CHECK(newer.groups == 3);
  CHECK(newer.padding == Sizes{3, 3});
  const Layer same =
      only_layer("torch.conv2d(x, self.conv.weight, None, [1, 1], 'same', [2, 1], 1)", {4, 3, 5, 3});
  CHECK(same.padding == Sizes{4, 1});
  CHECK(same.obstacle.empty());
  const Layer valid = only_layer("torch.conv2d(x, self.conv.weight, None, [1, 1], 'valid')", {4, 3, 5, 3});
  CHECK(valid.padding == Sizes{0, 0});
  CHECK(valid.obstacle.empty());
}

TEST_CASE("layers that are left alone say why", "[layers]") {
  CHECK(only_layer("torch.conv2d(x, self.conv.weight, None, [1, 1], 'same')", {4, 3, 2, 2}).obstacle ==
        "its padding 'same' differs between the two sides of an even kernel");
  const Layer transposed = only_layer("torch.conv_transpose2d(x, self.conv.weight)", {4, 3, 2, 2});
  CHECK(transposed.transposed);
  CHECK(transposed.obstacle.empty());
  CHECK(only_layer("torch.conv1d(x, self.conv.weight)", {4, 3, 2}).obstacle.empty());
  CHECK(only_layer("torch.conv3d(x, self.conv.weight)", {4, 3, 2, 2, 2}).obstacle.empty());
  CHECK(only_layer("torch.conv2d(x, self.conv.weight, None, [x.size(0), 1])", {4, 3, 2, 2}).obstacle ==
        "its stride, dilation or groups are not constants");
  const Layer nested = only_layer("torch.conv2d(x, self.conv.weight) if x.size(0) > 1 else x", {4, 3, 2, 2});
  CHECK(nested.obstacle.empty());
  const Network computed = one_convolution("torch.conv2d(x, self.conv.weight * 2)", {4, 3, 2, 2});
  REQUIRE(computed.layers().size() == 1);
  CHECK(computed.layers()[0].obstacle.find("its weight is computed") == 0);
  CHECK(computed.layers()[0].weight_name.empty());
  CHECK(computed.layers()[0].elements() == 0);
}

TEST_CASE("a nested layer is no layer step", "[layers]") {
  const Network network =
      one_convolution("torch.conv2d(x, self.conv.weight) if x.size(0) > 1 else x", {4, 3, 2, 2});
  for (std::int64_t step = 0; step < network.step_count(); ++step) {
    CHECK_FALSE(network.layer_of_step(step).has_value());
    const bool inside = network.describe_step(step).find("prim::If") != std::string::npos;
    CHECK(network.first_uses(step).size() == (inside ? 1U : 0U));
  }
}

TEST_CASE("layers in loops and branches show the inputs of all their uses", "[layers]") {
  torch::jit::Module net = empty_module();
  add_weights(net, "head", {3, 3, 3, 3}, 1, true);
  add_weights(net, "rare", {3, 3, 1, 1}, 2, false);
  net.define(R"(
    def forward(self, x):
        total = torch.zeros([1])
        levels = [x, x[:, :, ::2, ::2]]
        if x.size(0) > 1:
            levels.append(x[:, :, ::4, ::4])  # or freezing would unroll the loop
        for level in levels:
            y = torch.relu_(torch.conv2d(level, self.head.weight, self.head.bias, [1, 1], [1, 1]))
            if y.size(2) < 3:
                y = torch.conv2d(y, self.rare.weight)
            total = total + y.sum()
        return torch.stack([total, total], 1)
  )");
  const std::string bytes = bytes_of(net);
  Network network = Network::from_bytes(bytes, "net.pt");
  REQUIRE(network.layers().size() == 2);
  CHECK(network.layers()[0].name == "head");
  CHECK(network.layers()[1].name == "rare");
  const at::Tensor input = values({2, 3, 8, 8}, 5);
  CHECK(same_bits(network.forward(input.clone()), ordinary_forward(bytes, input)));
  LiveValues live = network.start(input.clone());
  std::int64_t loop = 0;
  while (network.first_uses(loop).empty()) network.run_step(loop++, live);
  CHECK(network.layers()[0].obstacle.empty());
  CHECK(network.layers()[1].obstacle == "");
  const std::vector<std::size_t> both = {0, 1};
  REQUIRE(network.first_uses(loop) == both);
  CHECK(network.layers()[0].steps == Sizes{loop});
  const auto head = network.layer_inputs(0, live);
  REQUIRE(head.size() == 3);
  CHECK(same_bits(head[0], input));
  CHECK(same_bits(head[1], input.slice(2, 0, 8, 2).slice(3, 0, 8, 2)));
  CHECK(same_bits(head[2], input.slice(2, 0, 8, 4).slice(3, 0, 8, 4)));
  const auto rare = network.layer_inputs(1, live);
  REQUIRE(rare.size() == 1);  // the branch runs on the smallest level only
  const at::Tensor weight = network.tensor("head.weight"), bias = network.tensor("head.bias");
  const Sizes one = {1, 1};
  CHECK(same_bits(rare[0], at::relu(at::conv2d(head[2], weight, bias, one, one))));
  // Looking has changed nothing, and a write acts inside the loop.
  network.run_step(loop, live);
  for (std::int64_t step = loop + 1; step < network.step_count(); ++step) network.run_step(step, live);
  CHECK(same_bits(network.output(live), ordinary_forward(bytes, input)));
  network.set_tensor("head.weight", weight.mul(2));
  CHECK(same_bits(network.forward(input.clone()), ordinary_forward(network.save(), input)));
  CHECK(largest_difference(network.forward(input.clone()), ordinary_forward(bytes, input)) > 1e-3);
}

TEST_CASE("a weight that several steps use shows the inputs of all of them", "[layers]") {
  torch::jit::Module net = empty_module();
  add_weights(net, "shared", {3, 3, 3, 3}, 1, true);
  // The second use reads through a view what a write in place has changed, and a third one is in a branch.
  net.define(R"(
    def forward(self, x):
        view = x[:, :, ::2]
        y = torch.conv2d(x, self.shared.weight, self.shared.bias, [1, 1], [1, 1])
        x.mul_(2)
        z = torch.conv2d(view, self.shared.weight, self.shared.bias, [1, 1], [1, 1])
        if z.sum() < 1e9:
            z = torch.conv2d(z.relu_(), self.shared.weight, self.shared.bias, [1, 1], [1, 1])
        return y.mean([2, 3]) + z.mean([2, 3])
  )");
  const std::string bytes = bytes_of(net);
  const Network network = Network::from_bytes(bytes, "net.pt");
  REQUIRE(network.layers().size() == 1);
  REQUIRE(network.layers()[0].steps.size() == 3);
  const at::Tensor input = values({2, 3, 8, 8}, 5);
  LiveValues live = network.start(input.clone());
  std::int64_t first = 0;
  while (network.first_uses(first).empty()) network.run_step(first++, live);
  const auto inputs = network.layer_inputs(0, live);
  REQUIRE(inputs.size() == 3);
  CHECK(same_bits(inputs[0], input));
  const at::Tensor second = input.slice(2, 0, 8, 2).mul(2);
  CHECK(same_bits(inputs[1], second));
  const at::Tensor weight = network.tensor("shared.weight"), bias = network.tensor("shared.bias");
  const Sizes one = {1, 1};
  CHECK(same_bits(inputs[2], at::relu(at::conv2d(second, weight, bias, one, one))));
  for (std::int64_t step = first; step < network.step_count(); ++step) network.run_step(step, live);
  CHECK(same_bits(network.output(live), ordinary_forward(bytes, input)));  // looking has changed nothing
}

TEST_CASE("undefined tensors go into branches with layers", "[layers]") {
  torch::jit::Module net = empty_module();
  add_weights(net, "out", {4, 4}, 1, false);
  add_weights(net, "fc", {4, 4}, 1, false);
  net.register_parameter("three", values({12, 4}, 2), false);
  net.register_parameter("zeros", at::zeros({12}), false);
  // Without its weights, which nobody needs, attention's second output is undefined (torchvision's ViT).
  net.define(R"(
    def forward(self, x):
        y, nothing = torch._native_multi_head_attention(
            x, x, x, 4, 1, self.three, self.zeros, self.out.weight, self.zeros[:4], None, False)
        both = (y, nothing)
        if x.size(0) > 1:
            y, kept = torch.linear(y, self.fc.weight), both[1]
        else:
            kept = y
        return y.mean(1), kept
  )");
  const Network network = Network::from_bytes(bytes_of(net), "net.pt");
  REQUIRE(network.layers().back().name == "fc");
  LiveValues live = network.start(values({2, 3, 4}, 5));
  for (std::int64_t step = 0; step < network.layers().back().steps.front(); ++step)
    network.run_step(step, live);
  const auto inputs = network.layer_inputs(network.layers().size() - 1, live);
  REQUIRE(inputs.size() == 1);
  CHECK(inputs[0].sizes() == at::IntArrayRef{2, 3, 4});
}

TEST_CASE("gradients reach weights in loops", "[layers]") {
  torch::jit::Module net = empty_module();
  add_weights(net, "fc", {3, 3}, 1, false);
  net.define(R"(
    def forward(self, x):
        for i in range(x.size(0)):
            x = torch.linear(x, self.fc.weight)
        return x
  )");
  const Network network = Network::from_bytes(bytes_of(net), "net.pt");
  GradientRequest request;
  request.tensors = {"fc.weight"};
  LiveValues live = network.start(values({2, 3}, 4), request);
  for (std::int64_t step = 0; step < network.step_count(); ++step) network.run_step(step, live);
  const c10::AutoGradMode with_gradients(true);
  const at::Tensor found = network.gradients(live, network.output(live).sum())[0];
  // d/dW sum(x W^T W^T)
  const at::Tensor weight = network.tensor("fc.weight").clone().requires_grad_(true);
  const at::Tensor x = values({2, 3}, 4);
  const at::Tensor expected =
      torch::autograd::grad({at::matmul(at::matmul(x, weight.t()), weight.t()).sum()}, {weight})[0];
  CHECK(largest_difference(found, expected) < 1e-5);
}

TEST_CASE("weights of other types and roles", "[layers]") {
  torch::jit::Module net = empty_module();
  net.register_parameter("kernel", values({2, 3, 1, 1}, 1).to(at::kDouble), false);
  net.register_buffer("blur", values({2, 3, 1, 1}, 2));
  net.define(R"(
    def forward(self, x):
        return torch.conv2d(x.double(), self.kernel) + torch.conv2d(x, self.blur)
  )");
  const Network network = Network::from_bytes(bytes_of(net), "net.pt");
  REQUIRE(network.layers().size() == 2);
  CHECK(network.layers()[0].name == "kernel");  // not called "weight": it keeps its own name
  CHECK(network.layers()[0].obstacle == "its weight is float64, only float32 is quantized");
  CHECK(network.layers()[1].obstacle == "its weight is a buffer, not a parameter");
  CHECK(network.tensors()[0].dtype == "float64");
}

TEST_CASE("linear layers of old traces", "[layers]") {
  torch::jit::Module net = empty_module();
  add_weights(net, "a", {4, 3}, 1, true);
  add_weights(net, "b", {2, 4}, 2, false);
  net.define(R"(
    def forward(self, x):
        return torch.matmul(torch.addmm(self.a.bias, x, torch.t(self.a.weight)), torch.t(self.b.weight))
  )");
  Network network = Network::from_bytes(bytes_of(net), "net.pt");
  REQUIRE(network.layers().size() == 2);
  CHECK(network.layers()[0].name == "a");
  CHECK(network.layers()[1].name == "b");
  const std::int64_t step = network.layers()[0].steps.front();
  LiveValues live = network.start(values({5, 3}, 3));
  for (std::int64_t i = 0; i < step; ++i) network.run_step(i, live);
  CHECK(same_bits(network.step_input(step, live), values({5, 3}, 3)));
}

TEST_CASE("a weight of several steps lists them all", "[layers]") {
  torch::jit::Module net = empty_module();
  add_weights(net, "conv", {3, 3, 3, 3}, 1, false);
  net.define(R"(
    def forward(self, x):
        y = torch.conv2d(x, self.conv.weight, None, [1, 1], [1, 1])
        return torch.conv2d(torch.relu(y), self.conv.weight, None, [1, 1], [1, 1])
  )");
  const Network network = Network::from_bytes(bytes_of(net), "net.pt");
  REQUIRE(network.layers().size() == 1);
  CHECK(network.layers()[0].obstacle.empty());
  CHECK(network.layers()[0].steps == Sizes{0, 2});

  torch::jit::Module other = empty_module();
  add_weights(other, "conv", {3, 3, 3, 3}, 1, false);
  other.define(R"(
    def forward(self, x):
        y = torch.conv2d(x, self.conv.weight, None, [1, 1], [1, 1])
        return torch.conv2d(y, self.conv.weight, None, [2, 2], [1, 1])
  )");
  const Network mixed = Network::from_bytes(bytes_of(other), "net.pt");
  REQUIRE(mixed.layers().size() == 1);
  CHECK(mixed.layers()[0].obstacle == "its weight is used with different strides or paddings");
}

TEST_CASE("tensors in state-dict order with their roles", "[layers]") {
  const Network network = Network::from_bytes(bytes_of(residual_network()), "net.pt");
  std::string text;
  for (const TensorInfo& info : network.tensors()) {
    text += info.name + " " + std::string(to_string(info.role)) + " " + info.dtype + "\n";
    CHECK(info.tied_to.empty());
  }
  CHECK(text ==
        "conv1.weight weight float32\n"
        "bn1.weight batch_norm_scale float32\nbn1.bias batch_norm_shift float32\n"
        "bn1.running_mean batch_norm_mean float32\nbn1.running_var batch_norm_variance float32\n"
        "bn1.num_batches_tracked buffer int64\n"
        "conv2.weight weight float32\nconv2.bias bias float32\n"
        "bn2.weight batch_norm_scale float32\nbn2.bias batch_norm_shift float32\n"
        "bn2.running_mean batch_norm_mean float32\nbn2.running_var batch_norm_variance float32\n"
        "bn2.num_batches_tracked buffer int64\n"
        "fc.weight weight float32\nfc.bias bias float32\n");
  const BatchNormStep* norm = network.batch_norm_of_step(1);
  REQUIRE(norm != nullptr);
  CHECK(norm->running_mean == "bn1.running_mean");
  CHECK(norm->running_variance == "bn1.running_var");
  CHECK(norm->scale == "bn1.weight");
  CHECK(norm->shift == "bn1.bias");
  CHECK(norm->epsilon == 0.001);
  CHECK(norm->foldable);
}

TEST_CASE("tied tensors keep their names and say what they are tied to", "[layers]") {
  torch::jit::Module net = empty_module();
  torch::jit::Module a = add_weights(net, "a", {4, 4}, 1, true);
  torch::jit::Module b = add_weights(net, "b", {4, 4}, 2, true);
  b.setattr("weight", a.attr("weight"));
  net.define(R"(
    def forward(self, x):
        return torch.linear(torch.linear(x, self.a.weight, self.a.bias), self.b.weight, self.b.bias)
  )");
  for (const bool through_description : {false, true}) {
    Network network = Network::from_bytes(bytes_of(net), "net.pt");
    if (through_description) network = Network::from_bytes(network.save_without_weights(), "description");
    REQUIRE(network.tensors().size() == 4);
    CHECK(network.tensors()[2].name == "b.weight");
    CHECK(network.tensors()[2].tied_to == "a.weight");
    CHECK(network.tensors()[2].role == TensorRole::weight);
    CHECK(network.tensors()[3].tied_to.empty());
    REQUIRE(network.layers().size() == 1);
    CHECK(network.layers()[0].weight_name == "a.weight");
    CHECK(network.layers()[0].steps == Sizes{0, 1});
    network.set_tensor("a.weight", values({4, 4}, 9));
    CHECK(same_bits(network.tensor("b.weight"), values({4, 4}, 9)));
  }
}

}  // namespace bitfall::test
