#pragma once
/// Small TorchScript networks made from source text, without Python.
#include <ATen/core/Tensor.h>
#include <torch/csrc/jit/api/module.h>

#include <string>
#include <vector>

namespace bitfall::test {

/// Deterministic values in [-1, 1) that look random, so that tests need no generator state.
[[nodiscard]] at::Tensor values(at::IntArrayRef shape, std::uint64_t seed);

/// A module that is its own compilation unit, with the `training` flag that Python modules have.
[[nodiscard]] torch::jit::Module empty_module(const std::string& name = "Net");

/// Adds a sub-module with weight (and bias) parameters, as nn.Conv2d or nn.Linear have them.
torch::jit::Module add_weights(torch::jit::Module& parent, const std::string& name, at::IntArrayRef shape,
                               std::uint64_t seed, bool bias);
/// Adds a sub-module with the five tensors of nn.BatchNorm2d.
void add_batch_norm(torch::jit::Module& parent, const std::string& name, std::int64_t channels,
                    std::uint64_t seed);

/// conv 3->8, BN, relu_, conv 8->8 (groups 2), BN, residual add_, pool, linear 8->5.
[[nodiscard]] torch::jit::Module residual_network();

/// The bytes of a TorchScript file.
[[nodiscard]] std::string bytes_of(const torch::jit::Module& module);

/// What LibTorch's own forward gives, in eval mode and without gradients.
[[nodiscard]] at::Tensor ordinary_forward(const std::string& bytes, const at::Tensor& input);

/// True when shapes and all bits are equal.
[[nodiscard]] bool same_bits(const at::Tensor& a, const at::Tensor& b);

/// The largest |a - b|.
[[nodiscard]] double largest_difference(const at::Tensor& a, const at::Tensor& b);

}  // namespace bitfall::test
