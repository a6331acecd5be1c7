#include "model/layer_node.hpp"

#include <torch/csrc/jit/ir/constants.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace bitfall {

using torch::jit::Node;
using torch::jit::toIValue;
using torch::jit::Value;

namespace {

/// Positions of a convolution's arguments; input, weight, bias, stride and padding are always 0 to 4.
struct ConvolutionForm {
  std::string_view name;
  std::size_t dilation, groups;
  std::size_t transposed;  ///< position of the flag; 0: never, 1: always
};

// native_functions.yaml of PyTorch 2.11.
constexpr std::array<ConvolutionForm, 8> forms = {{{"aten::conv1d", 5, 6, 0},
                                                   {"aten::conv2d", 5, 6, 0},
                                                   {"aten::conv3d", 5, 6, 0},
                                                   {"aten::conv_transpose1d", 7, 6, 1},
                                                   {"aten::conv_transpose2d", 7, 6, 1},
                                                   {"aten::conv_transpose3d", 7, 6, 1},
                                                   {"aten::convolution", 5, 8, 6},
                                                   {"aten::_convolution", 5, 8, 6}}};

const ConvolutionForm* convolution_form(const Node* node) {
  const std::string_view name = node->kind().toQualString();
  for (const ConvolutionForm& form : forms) {
    if (form.name == name && node->inputs().size() > std::max(form.dilation, form.groups)) return &form;
  }
  return nullptr;
}

/// A constant list of `rank` integers; one integer stands for all.
std::optional<std::vector<std::int64_t>> integers(const Value* value, std::size_t rank) {
  const std::optional<c10::IValue> constant = toIValue(value);
  if (!constant) return std::nullopt;
  if (constant->isInt()) return std::vector<std::int64_t>(rank, constant->toInt());
  if (!constant->isIntList()) return std::nullopt;
  std::vector<std::int64_t> list = constant->toIntVector();
  if (list.size() == 1) list.assign(rank, list.front());
  if (list.size() != rank) return std::nullopt;
  return list;
}

/// Resolves padding="same": dilation * (kernel - 1) / 2 on both sides, which exists only when that is whole
/// (torch.nn.functional.conv2d pads one more at the end otherwise).
std::string resolve_padding(std::string_view padding, Layer& layer) {
  layer.padding.assign(layer.stride.size(), 0);
  if (padding == "valid") return {};
  if (padding != "same") return "its padding is '" + std::string(padding) + "'";
  for (std::size_t i = 0; i < layer.padding.size(); ++i) {
    const std::int64_t total = layer.dilation[i] * (layer.weight_shape[i + 2] - 1);
    if (total % 2 != 0) return "its padding 'same' differs between the two sides of an even kernel";
    layer.padding[i] = total / 2;
  }
  return {};
}

/// The tensor that aten::t transposes.
const Value* transposed_source(const Value* value) {
  return value->node()->kind() == c10::aten::t ? value->node()->input(0) : nullptr;
}

}  // namespace

std::optional<LayerNode> as_layer(const Node* node) {
  if (convolution_form(node) != nullptr) {
    return LayerNode{node->input(0), node->input(1), LayerKind::convolution};
  }
  if (node->kind() == c10::aten::linear) return LayerNode{node->input(0), node->input(1), LayerKind::linear};
  // _native_multi_head_attention(query, key, value, embed_dim, num_head, qkv_weight, ...): what eval mode
  // runs of torch.nn.MultiheadAttention. Its output projection (input 7) reads what nobody else sees.
  if (node->kind() == c10::aten::_native_multi_head_attention && node->inputs().size() > 7)
    return LayerNode{node->input(0), node->input(5), LayerKind::linear};
  const bool addmm = node->kind() == c10::aten::addmm;
  if (!addmm && node->kind() != c10::aten::matmul) return std::nullopt;
  const std::size_t left = addmm ? 1 : 0;  // addmm(bias, input, weight^T), matmul(input, weight^T)
  const Value* weight = transposed_source(node->input(left + 1));
  if (weight == nullptr) return std::nullopt;
  return LayerNode{node->input(left), weight, LayerKind::linear};
}

std::string describe_convolution(const Node* node, Layer& layer) {
  const ConvolutionForm& form = *convolution_form(node);
  if (layer.weight_shape.size() < 3) return "its weight has an unexpected shape";
  const std::size_t rank = layer.weight_shape.size() - 2;
  layer.transposed = form.transposed == 1;
  if (form.transposed > 1) {
    const std::optional<c10::IValue> flag = toIValue(node->input(form.transposed));
    if (!flag || !flag->isBool()) return "whether it is transposed is not a constant";
    layer.transposed = flag->toBool();
  }
  const auto stride = integers(node->input(3), rank);
  const auto dilation = integers(node->input(form.dilation), rank);
  const std::optional<c10::IValue> groups = toIValue(node->input(form.groups));
  if (!stride || !dilation || !groups || !groups->isInt()) {
    return "its stride, dilation or groups are not constants";
  }
  layer.stride = *stride;
  layer.dilation = *dilation;
  layer.groups = groups->toInt();
  std::string obstacle;
  const std::optional<c10::IValue> mode = toIValue(node->input(4));
  if (mode && mode->isString()) {
    obstacle = resolve_padding(mode->toStringRef(), layer);
  } else if (const auto padding = integers(node->input(4), rank)) {
    layer.padding = *padding;
  } else {
    obstacle = "its padding is not a constant";
  }
  return obstacle;
}

}  // namespace bitfall
