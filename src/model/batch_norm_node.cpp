#include "model/batch_norm_node.hpp"

#include <torch/csrc/jit/ir/constants.h>

namespace bitfall {

std::optional<BatchNormStep> as_batch_norm(
    const torch::jit::Node* node, const std::function<std::string(const torch::jit::Value*)>& name_of) {
  // batch_norm(input, weight?, bias?, running_mean?, running_var?, training, momentum, eps, cudnn_enabled)
  if (node->kind() != c10::aten::batch_norm) return std::nullopt;
  const auto epsilon = torch::jit::toIValue(node->input(7));
  if (!epsilon || !epsilon->isDouble()) return std::nullopt;
  BatchNormStep norm;
  norm.scale = name_of(node->input(1));
  norm.shift = name_of(node->input(2));
  norm.running_mean = name_of(node->input(3));
  norm.running_variance = name_of(node->input(4));
  norm.epsilon = epsilon->toDouble();
  norm.name = norm.running_mean.substr(0, norm.running_mean.rfind('.'));
  return norm;
}

}  // namespace bitfall
