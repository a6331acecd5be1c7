#pragma once
/// Small TorchScript networks, made here so that no file and no Python is needed.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/jit/api/module.h>

#include <sstream>
#include <string>
#include <vector>

#include "bitfall/network.hpp"

namespace bitfall::test {

inline torch::jit::Module conv_module(const std::string& type, at::Tensor weight, const std::string& stride) {
  torch::jit::Module module("__torch__." + type);
  module.register_parameter("weight", std::move(weight), false);
  module.define("def forward(self, x):\n  return torch.conv2d(x, self.weight, None, " + stride +
                ", [1, 1], [1, 1], 1)\n");
  return module;
}

inline torch::jit::Module batch_norm_module(const std::string& type, std::int64_t channels) {
  torch::jit::Module module("__torch__." + type);
  module.register_parameter("weight", at::ones({channels}), false);
  module.register_parameter("bias", at::zeros({channels}), false);
  module.register_buffer("running_mean", at::zeros({channels}));
  module.register_buffer("running_var", at::ones({channels}));
  module.define(
      "def forward(self, x):\n  return torch.batch_norm(x, self.weight, self.bias, self.running_mean, "
      "self.running_var, False, 0.1, 1e-05, False)\n");
  return module;
}

/// conv1 (3 -> 8, 3x3) - bn1 - relu - conv2 (8 -> 8, 3x3, stride 2) - + a strided shortcut - mean - fc (8 ->
/// 5). Weights are a fixed function of their index, so that every rank has the same network.
inline Network small_network() {
  const auto weights = [](std::vector<std::int64_t> shape) {
    at::Tensor weight = at::zeros(shape);
    float* data = weight.mutable_data_ptr<float>();
    for (std::int64_t i = 0; i < weight.numel(); ++i) {
      data[i] = static_cast<float>((i * 37 + shape[1] * 11) % 101 - 50) / 200.0F;
    }
    return weight;
  };
  torch::jit::Module fc("__torch__.Fc");
  fc.register_parameter("weight", weights({5, 8}), false);
  fc.register_parameter("bias", at::ones({5}), false);
  fc.define("def forward(self, x):\n  return torch.linear(x, self.weight, self.bias)\n");
  torch::jit::Module root("__torch__.Small");
  root.register_module("conv1", conv_module("Conv1", weights({8, 3, 3, 3}), "[1, 1]"));
  root.register_module("bn1", batch_norm_module("Bn1", 8));
  root.register_module("conv2", conv_module("Conv2", weights({8, 8, 3, 3}), "[2, 2]"));
  root.register_module("fc", fc);
  root.define(R"(
def forward(self, x):
  x = torch.relu(self.bn1.forward(self.conv1.forward(x)))
  shortcut = x[:, :, ::2, ::2]
  x = self.conv2.forward(x) + shortcut
  return self.fc.forward(torch.mean(x, [2, 3]))
)");
  std::ostringstream bytes;
  root.save(bytes);
  return Network::from_bytes(bytes.str(), "small.pt");
}

/// Micro-batches of images that are a fixed function of their index; the last one is smaller.
inline std::vector<at::Tensor> small_images(std::int64_t micro_batches, std::int64_t size = 10) {
  std::vector<at::Tensor> images;
  for (std::int64_t i = 0; i < micro_batches; ++i) {
    at::Tensor batch = at::zeros({i + 1 == micro_batches ? 1 : 3, 3, size, size});
    float* data = batch.mutable_data_ptr<float>();
    for (std::int64_t p = 0; p < batch.numel(); ++p) {
      data[p] = static_cast<float>((p * 7919 + i * 104729) % 2003 - 900) / 700.0F;
    }
    images.push_back(batch);
  }
  return images;
}

/// The same bits?
inline bool same(const at::Tensor& a, const at::Tensor& b) {
  return a.sizes() == b.sizes() && a.equal(b);
}

}  // namespace bitfall::test
