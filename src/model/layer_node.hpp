#pragma once
/// Reads one node of a graph as a convolution, a linear layer or a batch norm.
#include <torch/csrc/jit/ir/ir.h>

#include <optional>

#include "bitfall/layer.hpp"

namespace bitfall {

/// A node that multiplies its input by a weight.
struct LayerNode {
  const torch::jit::Value* input = nullptr;
  const torch::jit::Value* weight = nullptr;
  LayerKind kind = LayerKind::convolution;
};

/// Convolutions of any rank, aten::linear, the projection of queries, keys and values in fused attention, and
/// the linear layers of old traces: aten::addmm or aten::matmul with aten::t of the weight.
[[nodiscard]] std::optional<LayerNode> as_layer(const torch::jit::Node* node);

/// Fills stride, padding, dilation, groups and transposed of a convolution's layer, whose weight_shape is
/// known. Returns what stands against quantizing it, or an empty string.
[[nodiscard]] std::string describe_convolution(const torch::jit::Node* node, Layer& layer);

}  // namespace bitfall
