#include <ATen/ops/full.h>

#include <algorithm>
#include <cmath>

#include "catch.hpp"
#include "model/fold.hpp"
#include "script_models.hpp"

namespace bitfall::test {

TEST_CASE("folding keeps the logits and makes the statistics known", "[fold]") {
  Network network = Network::from_bytes(bytes_of(residual_network()), "net.pt");
  const at::Tensor input = values({4, 3, 16, 16}, 1);
  const at::Tensor before = network.forward(input.clone());
  const at::Tensor gamma = network.tensor("bn2.weight").clone(), beta = network.tensor("bn2.bias").clone();
  const at::Tensor mean = network.tensor("bn2.running_mean").clone();
  const at::Tensor variance = network.tensor("bn2.running_var").clone();
  fold_batch_norms(network);
  CHECK(largest_difference(network.forward(input.clone()), before) < 1e-5);
  CHECK(largest_difference(network.tensor("bn2.running_mean"), at::full({8}, 0.0F)) == 0);
  for (std::int64_t c = 0; c < 8; ++c) {
    const auto at = [&](const at::Tensor& tensor) { return static_cast<double>(tensor[c].item<float>()); };
    const double scale = at(gamma) / std::sqrt(at(variance) + 0.001);
    CHECK(at(network.tensor("bn2.weight")) == Approx(scale).epsilon(1e-7));
    CHECK(at(network.tensor("bn2.bias")) == Approx(at(beta) - at(mean) * scale).epsilon(1e-6).margin(1e-7));
    CHECK(network.tensor("bn2.running_var")[c].item<float>() + 0.001F == 1.0F);
  }
  CHECK(same_bits(ordinary_forward(network.save(), input), network.forward(input.clone())));
}

TEST_CASE("folding twice changes nothing", "[fold]") {
  Network network = Network::from_bytes(bytes_of(residual_network()), "net.pt");
  fold_batch_norms(network);
  const std::string once = network.save();
  fold_batch_norms(network);
  const bool unchanged = network.save() == once;
  CHECK(unchanged);
}

TEST_CASE("folded statistics are restored without being stored", "[fold]") {
  Network network = Network::from_bytes(bytes_of(residual_network()), "net.pt");
  fold_batch_norms(network);
  const std::vector<std::string> known = folded_statistics(network);
  CHECK(known == std::vector<std::string>{"bn1.running_mean", "bn1.running_var", "bn2.running_mean",
                                          "bn2.running_var"});
  Network restored = Network::from_bytes(network.save_without_weights(), "description");
  set_folded_statistics(restored);
  for (const TensorInfo& info : network.tensors()) {
    const bool stored = std::find(known.begin(), known.end(), info.name) == known.end();
    if (stored) restored.set_tensor(info.name, network.tensor(info.name));
  }
  for (const TensorInfo& info : network.tensors()) {
    CHECK(same_bits(restored.tensor(info.name), network.tensor(info.name)));
  }
}

TEST_CASE("every epsilon has a variance that makes their sum one", "[fold]") {
  for (const double epsilon : {1e-5, 1e-3, 1e-7, 0.1, 0.3, 1.0 / 3, 0.0, 1e-12}) {
    torch::jit::Module net = empty_module();
    for (const char* name : {"gamma", "beta"}) net.register_parameter(name, values({4}, 1).add_(2), false);
    for (const char* name : {"mean", "var"}) net.register_buffer(name, values({4}, 2).add_(2));
    net.define(
        "def forward(self, x):\n  return torch.batch_norm(x, self.gamma, self.beta, self.mean, self.var, "
        "False, 0.1, " +
        std::to_string(epsilon) + (epsilon > 0 && epsilon < 1e-6 ? " + " : " + 0 * ") +
        (epsilon == 1e-12 ? "1e-12" : "1e-07") + ", False)\n");
    Network network = Network::from_bytes(bytes_of(net), "net.pt");
    const BatchNormStep* norm = network.batch_norm_of_step(0);
    REQUIRE(norm != nullptr);
    const at::Tensor input = values({3, 4}, 3), before = network.forward(input.clone());
    fold_batch_norms(network);
    CHECK(network.tensor("var")[0].item<float>() + static_cast<float>(norm->epsilon) == 1.0F);
    CHECK(largest_difference(network.forward(input.clone()), before) < 2e-6);
  }
}

TEST_CASE("batch norms that share or lack tensors stay as they are", "[fold]") {
  torch::jit::Module net = empty_module();
  for (const char* name : {"gamma", "beta"}) net.register_parameter(name, values({4}, 1).add_(2), false);
  for (const char* name : {"mean", "var", "mean2", "var2"}) net.register_buffer(name, values({4}, 2).add_(2));
  net.define(R"(
    def forward(self, x):
        x = torch.batch_norm(x, self.gamma, self.beta, self.mean, self.var, False, 0.1, 0.001, False)
        x = torch.batch_norm(x, self.gamma, self.beta, self.mean2, self.var2, False, 0.1, 0.001, False)
        return torch.batch_norm(x, None, None, self.mean2, self.var2, False, 0.1, 0.001, False)
  )");
  Network network = Network::from_bytes(bytes_of(net), "net.pt");
  CHECK(folded_statistics(network).empty());
  const std::string before = network.save();
  fold_batch_norms(network);
  const bool unchanged = network.save() == before;
  CHECK(unchanged);
}

TEST_CASE("one batch norm used twice is folded once", "[fold]") {
  torch::jit::Module net = empty_module();
  add_batch_norm(net, "bn", 4, 1);
  net.define("def forward(self, x):\n  return self.bn.forward(torch.relu(self.bn.forward(x)))\n");
  Network network = Network::from_bytes(bytes_of(net), "net.pt");
  CHECK(folded_statistics(network).size() == 2);
  const at::Tensor input = values({5, 4}, 3), before = network.forward(input.clone());
  fold_batch_norms(network);
  CHECK(largest_difference(network.forward(input.clone()), before) < 1e-5);
}

}  // namespace bitfall::test
