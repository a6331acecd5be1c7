#include "script_models.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/jit/serialization/import.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <sstream>

#include "bitfall/random.hpp"

namespace bitfall::test {

at::Tensor values(at::IntArrayRef shape, std::uint64_t seed) {
  at::Tensor tensor = at::empty(shape, at::kFloat);
  auto* data = tensor.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < tensor.numel(); ++i) {
    const std::uint64_t bits = random_below(seed, 0, static_cast<std::uint64_t>(i), 2'000'000);
    data[i] = static_cast<float>(bits) * 1e-6F - 1.0F;
  }
  return tensor;
}

torch::jit::Module empty_module(const std::string& name) {
  torch::jit::Module module("__torch__." + name);
  module.register_attribute("training", c10::BoolType::get(), true);
  return module;
}

torch::jit::Module add_weights(torch::jit::Module& parent, const std::string& name, at::IntArrayRef shape,
                               std::uint64_t seed, bool bias) {
  torch::jit::Module child("__torch__.Weights_" + name, parent._ivalue()->compilation_unit());
  child.register_attribute("training", c10::BoolType::get(), true);
  child.register_parameter("weight", values(shape, seed), false);
  if (bias) child.register_parameter("bias", values(shape.front(), seed + 1), false);
  parent.register_module(name, child);
  return child;
}

void add_batch_norm(torch::jit::Module& parent, const std::string& name, std::int64_t channels,
                    std::uint64_t seed) {
  torch::jit::Module child("__torch__.BatchNorm_" + name, parent._ivalue()->compilation_unit());
  child.register_attribute("training", c10::BoolType::get(), true);
  child.register_parameter("weight", values(channels, seed).add_(1.5), false);
  child.register_parameter("bias", values(channels, seed + 1), false);
  child.register_buffer("running_mean", values(channels, seed + 2));
  child.register_buffer("running_var", values(channels, seed + 3).add_(1.25));
  child.register_buffer("num_batches_tracked", at::zeros({}, at::kLong));
  child.define(R"(
    def forward(self, x):
        return torch.batch_norm(x, self.weight, self.bias, self.running_mean, self.running_var,
                                self.training, 0.1, 0.001, True)
  )");
  parent.register_module(name, child);
}

torch::jit::Module residual_network() {
  torch::jit::Module net = empty_module("Residual");
  add_weights(net, "conv1", {8, 3, 3, 3}, 1, false);
  add_batch_norm(net, "bn1", 8, 10);
  add_weights(net, "conv2", {8, 4, 3, 3}, 2, true);
  add_batch_norm(net, "bn2", 8, 20);
  add_weights(net, "fc", {5, 8}, 3, true);
  net.define(R"(
    def forward(self, x):
        a = torch.relu_(self.bn1.forward(torch.conv2d(x, self.conv1.weight, None, [2, 2], [1, 1], [1, 1], 1)))
        b = self.bn2.forward(torch.conv2d(a, self.conv2.weight, self.conv2.bias, [1, 1], [2, 2], [2, 2], 2))
        b.add_(a)
        b = torch.flatten(torch.adaptive_avg_pool2d(torch.relu_(b), [1, 1]), 1)
        return torch.linear(b, self.fc.weight, self.fc.bias)
  )");
  return net;
}

std::string bytes_of(const torch::jit::Module& module) {
  std::ostringstream stream;
  module.save(stream);
  return stream.str();
}

at::Tensor ordinary_forward(const std::string& bytes, const at::Tensor& input) {
  const c10::AutoGradMode no_gradients(false);
  std::istringstream stream(bytes);
  torch::jit::Module module = torch::jit::load(stream);
  module.eval();
  return module.forward({input.clone()}).toTensor();
}

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes() || a.scalar_type() != b.scalar_type()) return false;
  const at::Tensor left = a.contiguous(), right = b.contiguous();
  return std::memcmp(left.const_data_ptr(), right.const_data_ptr(), left.nbytes()) == 0;
}

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor left = a.contiguous(), right = b.contiguous();
  double largest = 0;
  for (std::int64_t i = 0; i < left.numel(); ++i) {
    const double difference = std::abs(static_cast<double>(left.const_data_ptr<float>()[i]) -
                                       static_cast<double>(right.const_data_ptr<float>()[i]));
    largest = std::isnan(difference) ? INFINITY : std::max(largest, difference);
  }
  return largest;
}

}  // namespace bitfall::test
