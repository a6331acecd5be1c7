#include <ATen/ops/full.h>

#include <thread>

#include "bitfall/errors.hpp"
#include "bitfall/network.hpp"
#include "catch.hpp"
#include "model/ordinary_forward.hpp"
#include "script_models.hpp"

namespace bitfall::test {
namespace {

Network network_of(const torch::jit::Module& module) {
  return Network::from_bytes(bytes_of(module), "net.pt");
}

std::string error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const DataError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("steps give the bits of the ordinary forward", "[network]") {
  const std::string bytes = bytes_of(residual_network());
  const Network network = Network::from_bytes(bytes, "net.pt");
  for (const std::int64_t batch : {1, 2, 7}) {
    const at::Tensor input = values({batch, 3, 9, 11}, 77);
    const at::Tensor output = network.forward(input.clone());
    CHECK(output.sizes() == at::IntArrayRef{batch, 5});
    CHECK(same_bits(output, ordinary_forward(bytes, input)));
    CHECK(same_bits(output, network.forward(input.clone())));
  }
}

TEST_CASE("functional pads, strided slices, lists and control flow run as steps", "[network]") {
  torch::jit::Module net = empty_module();
  add_weights(net, "conv", {4, 4, 3, 3}, 5, false);
  net.define(R"(
    def forward(self, x):
        y = torch.constant_pad_nd(x[:, :, ::2, ::2], [0, 0, 0, 0, 1, 0], 0.5)
        parts = []
        for i in range(3):
            if i + y.size(0) > 3:
                z = torch.conv2d(y, self.conv.weight, None, [1, 1], [1, 1], [1, 1], 1)
            else:
                z = y * float(i)
            parts.append(z.mean([2, 3]))
        first, second = torch.chunk(torch.cat(parts, 1), 2, 1)
        return torch.cat([second, first], 1)
  )");
  const std::string bytes = bytes_of(net);
  const Network network = Network::from_bytes(bytes, "net.pt");
  for (const std::int64_t batch : {1, 2, 4}) {
    const at::Tensor input = values({batch, 3, 8, 8}, 78);
    CHECK(same_bits(network.forward(input.clone()), ordinary_forward(bytes, input)));
  }
}

TEST_CASE("further inputs of forward get their defaults", "[network]") {
  torch::jit::Module net = empty_module();
  net.define(R"(
    def forward(self, x, scale: float = 3.0, extra: Optional[Tensor] = None):
        if extra is not None:
            x = x + extra
        return x * scale
  )");
  const at::Tensor input = values({2, 4}, 1);
  CHECK(same_bits(network_of(net).forward(input.clone()), input.mul(3.0)));
}

TEST_CASE("values are dropped after their last use", "[network]") {
  const Network network = network_of(residual_network());
  LiveValues live = network.start(values({2, 3, 8, 8}, 3));
  const std::int64_t activation = std::int64_t{2} * 8 * 4 * 4 * 4;  // N, C, H, W, float32
  CHECK(live.bytes() == 2 * 3 * 8 * 8 * 4);
  std::int64_t peak = 0;
  for (std::int64_t step = 0; step < network.step_count(); ++step) {
    network.run_step(step, live);
    peak = std::max(peak, live.bytes());
  }
  CHECK(peak == 2 * activation);     // the shortcut and one activation
  CHECK(live.bytes() == 2 * 5 * 4);  // the logits alone
  CHECK(network.output(live).numel() == 10);
}

TEST_CASE("layer and batch-norm steps show their input", "[network]") {
  const Network network = network_of(residual_network());
  const at::Tensor input = values({1, 3, 8, 8}, 3);
  LiveValues live = network.start(input);
  std::vector<std::string> seen;
  for (std::int64_t step = 0; step < network.step_count(); ++step) {
    if (const auto layer = network.layer_of_step(step)) {
      seen.push_back(network.layers()[*layer].name);
      if (seen.size() == 1) CHECK(network.step_input(step, live).is_same(input));
      if (network.layers()[*layer].kind == LayerKind::linear) {
        CHECK(network.step_input(step, live).sizes() == at::IntArrayRef{1, 8});
      }
    } else if (const BatchNormStep* norm = network.batch_norm_of_step(step)) {
      seen.push_back(norm->name);
      CHECK(network.step_input(step, live).size(1) == 8);
    }
    network.run_step(step, live);
  }
  CHECK(seen == std::vector<std::string>{"conv1", "bn1", "conv2", "bn2", "fc"});
  CHECK(network.describe_step(0) == "step 0 (aten::conv2d, conv1)");
  CHECK(network.describe_step(1) == "step 1 (aten::batch_norm, bn1)");
}

TEST_CASE("writes are seen by the steps and by save", "[network]") {
  const std::string original = bytes_of(residual_network());
  Network network = Network::from_bytes(original, "net.pt");
  const at::Tensor input = values({2, 3, 8, 8}, 4);
  const at::Tensor before = network.forward(input.clone());
  std::string last = original;
  for (const char* name : {"conv1.weight", "conv2.weight", "conv2.bias", "bn1.weight", "bn1.bias",
                           "bn2.running_mean", "bn2.running_var", "fc.weight", "fc.bias"}) {
    const at::Tensor old = network.tensor(name).clone();
    network.set_tensor(name, old.mul(1.5));
    const at::Tensor changed = network.forward(input.clone());
    INFO(name);
    CHECK(largest_difference(changed, before) > 1e-6);
    const std::string saved = network.save();
    CHECK(same_bits(ordinary_forward(saved, input), changed));
    CHECK(same_bits(Network::from_bytes(saved, "saved").forward(input.clone()), changed));
    network.set_tensor(name, old);
    CHECK(same_bits(network.forward(input.clone()), before));
  }
}

TEST_CASE("a write in the middle of a walk acts on the steps that follow", "[network]") {
  Network network = network_of(residual_network());
  const at::Tensor input = values({2, 3, 8, 8}, 5);
  LiveValues live = network.start(input.clone());
  for (std::int64_t step = 0; step < network.step_count(); ++step) {
    if (network.describe_step(step).find("conv2") != std::string::npos) {
      network.set_tensor("conv2.weight", values({8, 4, 3, 3}, 99));
    }
    network.run_step(step, live);
  }
  CHECK(same_bits(network.output(live), network.forward(input.clone())));
}

TEST_CASE("threads share one network", "[network]") {
  const Network network = network_of(residual_network());
  std::vector<at::Tensor> inputs, expected(8), found(8);
  for (std::uint64_t i = 0; i < 8; ++i) inputs.push_back(values({2, 3, 16, 16}, 100 + i));
  for (std::size_t i = 0; i < 8; ++i) expected[i] = network.forward(inputs[i].clone());
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      for (int repeat = 0; repeat < 20; ++repeat) found[i] = network.forward(inputs[i].clone());
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (std::size_t i = 0; i < 8; ++i) CHECK(same_bits(found[i], expected[i]));
}

TEST_CASE("parameters that require gradients cost no graph", "[network]") {
  torch::jit::Module net = residual_network();
  for (at::Tensor parameter : net.parameters()) parameter.requires_grad_(true);
  Network network = network_of(net);
  CHECK_FALSE(network.forward(values({1, 3, 8, 8}, 1)).requires_grad());
  network.set_tensor("conv1.weight", values({8, 3, 3, 3}, 7));
  CHECK(same_bits(network.tensor("conv1.weight"), values({8, 3, 3, 3}, 7)));
}

TEST_CASE("wrong names, sizes and inputs are the user's errors", "[network]") {
  Network network = network_of(residual_network());
  CHECK(error_of([&] { (void)network.tensor("conv9.weight"); }) ==
        "the network has no parameter or buffer 'conv9.weight'");
  CHECK(error_of([&] { network.set_tensor("fc.bias", values({4}, 1)); }) ==
        "tensor 'fc.bias' has the shape [5], not [4]");
  CHECK(error_of([&] { network.set_tensor("fc.bias", std::vector<float>(6)); }) ==
        "tensor 'fc.bias' has 5 elements, not 6");
  const std::string text = error_of([&] { (void)network.forward(values({1, 4, 8, 8}, 1)); });
  CHECK(text.find("the network fails at step 0 (aten::conv2d, conv1): ") == 0);
  CHECK(text.find("channels") != std::string::npos);
  CHECK(text.find('\n') == std::string::npos);
}

TEST_CASE("outputs other than logits are refused with what was found", "[network]") {
  const auto run = [](const std::string& result) {
    torch::jit::Module net = empty_module();
    net.define("def forward(self, x):\n  return " + result + "\n");
    return error_of([&] { (void)network_of(net).forward(values({2, 3, 4, 4}, 1)); });
  };
  CHECK(run("(x, x)").find("shape [2, 3, 4, 4]") != std::string::npos);
  CHECK(run("[x]").find("returns a Tensor[]") != std::string::npos);
  CHECK(run("x * 2").find("shape [2, 3, 4, 4]") != std::string::npos);
  CHECK(run("None").find("returns a NoneType") != std::string::npos);
  CHECK(run("{\"out\": x}").find("shape [2, 3, 4, 4]") != std::string::npos);
  CHECK(run("{\"a\": x, \"b\": x}").find("choose one with --logits: a, b") != std::string::npos);
}

TEST_CASE("logits are a part of a tuple or a dictionary", "[network]") {
  const at::Tensor input = values({2, 3}, 1);
  const auto part = [&](const std::string& result, const std::string& name) {
    torch::jit::Module net = empty_module();
    net.define("def forward(self, x):\n  return " + result + "\n");
    Network network = network_of(net);
    network.choose_logits(name);
    return network.forward(input.clone());
  };
  CHECK(same_bits(part("(x * 2, x * 3)", ""), input.mul(2)));
  CHECK(same_bits(part("(x * 2, x * 3)", "1"), input.mul(3)));
  CHECK(same_bits(part("(x * 2, [x])", "0"), input.mul(2)));
  CHECK(same_bits(part("{\"aux\": x * 2, \"out\": x * 3}", ""), input.mul(3)));
  CHECK(same_bits(part("{\"a\": x * 2, \"logits\": x * 3}", ""), input.mul(3)));
  CHECK(same_bits(part("{\"aux\": x * 2, \"out\": x * 3}", "aux"), input.mul(2)));
  CHECK(error_of([&] { (void)part("(x, x)", "2"); }) ==
        "the network returns a tuple without '2'; choose one with --logits: 0, 1");
  CHECK(error_of([&] { (void)part("x", "out"); }) == "the network returns a Tensor, which has no part 'out'");
  CHECK(error_of([&] { (void)part("(1, x)", ""); }).find("returns a int") != std::string::npos);
}

TEST_CASE("a network that takes a list of images gets one", "[network]") {
  torch::jit::Module net = empty_module();
  net.define(R"(
    def forward(self, images: List[Tensor]):
        parts = []
        for image in images:
            parts.append(image.mean([1, 2]))
        return torch.stack(parts, 0)
  )");
  const std::string bytes = bytes_of(net);
  const at::Tensor input = values({3, 4, 5, 6}, 1);
  const at::Tensor found = Network::from_bytes(bytes, "net.pt").forward(input.clone());
  CHECK(same_bits(found, input.mean({2, 3})));
  const c10::IValue whole = bitfall::ordinary_forward(bytes, "net.pt", input);
  CHECK(bitfall::same_bits(whole, c10::IValue(found)));
}

TEST_CASE("lists and flags that a forward keeps are those of the file in every run", "[network]") {
  // As torchvision's anchor generators and RoI poolers do.
  torch::jit::Module keeper = empty_module("Keeper");
  c10::List<at::Tensor> sizes;
  sizes.push_back(at::full({1}, 2.0));
  sizes.push_back(at::full({1}, 3.0));
  keeper.register_attribute("sizes", c10::ListType::ofTensors(), sizes);
  keeper.register_attribute("asked", c10::BoolType::get(), false);
  keeper.define(R"(
    def forward(self, x):
        if self.asked:
            x = x + 1.0
        else:
            x = x + 0.5
        self.asked = True
        self.sizes = [size.to(x.dtype) for size in self.sizes]
        return x * self.sizes[0] + self.sizes[1]
  )");
  torch::jit::Module net = empty_module();
  net.register_module("keeper", keeper);
  net.define(R"(
    def forward(self, x):
        if x.size(0) > 1:
            x = x * 3.0
        return self.keeper.forward(x)
  )");
  const std::string bytes = bytes_of(net);
  const Network network = Network::from_bytes(bytes, "net.pt");
  const at::Tensor one = values({1, 4}, 1), two = values({2, 4}, 2);
  for (int run = 0; run < 2; ++run) {
    CHECK(same_bits(network.forward(one.clone()), ordinary_forward(bytes, one)));
    CHECK(same_bits(network.forward(two.clone()), ordinary_forward(bytes, two)));
  }
  // What remembers is seen by comparing with a second call.
  const c10::IValue first = bitfall::ordinary_forward(bytes, "net.pt", one);
  CHECK(bitfall::same_bits(first, c10::IValue(network.forward(one.clone()))));
  CHECK_FALSE(bitfall::same_bits(first, bitfall::ordinary_forward(bytes, "net.pt", one, two)));
}

TEST_CASE("results are compared part by part and bit by bit", "[network]") {
  const at::Tensor a = values({2, 3}, 1), b = a.clone();
  const auto tuple = [](const at::Tensor& x, std::int64_t n) {
    return c10::IValue(c10::ivalue::Tuple::create({x, n}));
  };
  CHECK(bitfall::same_bits(tuple(a, 1), tuple(b, 1)));
  CHECK_FALSE(bitfall::same_bits(tuple(a, 1), tuple(b, 2)));
  b.view(-1)[5].add_(1e-7);
  CHECK_FALSE(bitfall::same_bits(tuple(a, 1), tuple(b, 1)));
  CHECK_FALSE(bitfall::same_bits(c10::IValue(a), c10::IValue(a.view({3, 2}))));
  CHECK_FALSE(bitfall::same_bits(c10::IValue(a), tuple(a, 1)));
  CHECK(bitfall::same_bits(c10::IValue(), c10::IValue()));
}

TEST_CASE("a warning of the network is passed over", "[network]") {
  torch::jit::Module net = empty_module();
  net.define(R"(
    def forward(self, x):
        torch.warn("seen", 2)
        return x * 2
  )");
  const at::Tensor input = values({2, 3}, 1);
  CHECK(same_bits(network_of(net).forward(input.clone()), input.mul(2)));
}

TEST_CASE("an error raised by the network is one sentence", "[network]") {
  torch::jit::Module net = empty_module();
  net.define("def forward(self, x):\n  assert x.size(0) < 2, 'one image only'\n  return x\n");
  const Network network = network_of(net);
  CHECK(network.forward(values({1, 3}, 1)).numel() == 3);
  const std::string text = error_of([&] { (void)network.forward(values({2, 3}, 1)); });
  CHECK(text.find("one image only") != std::string::npos);
  CHECK(text.find('\n') == std::string::npos);
}

}  // namespace bitfall::test
