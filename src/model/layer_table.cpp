#include "model/layer_table.hpp"

#include <torch/csrc/jit/ir/constants.h>

#include <algorithm>
#include <map>
#include <set>

namespace bitfall {

using torch::jit::Node;
using torch::jit::toIValue;

namespace {

std::string module_of(const std::string& tensor) {
  const auto dot = tensor.rfind('.');
  return dot == std::string::npos ? tensor : tensor.substr(0, dot);
}

std::optional<std::vector<std::int64_t>> integers(const torch::jit::Value* value) {
  const auto constant = toIValue(value);
  if (!constant || !constant->isIntList()) return std::nullopt;
  return constant->toIntVector();
}

/// Where an operator has its arguments.
struct ConvolutionArguments {
  std::size_t stride = 3, padding = 4, dilation = 5, groups = 6;
  bool transposed = false;
};

std::optional<ConvolutionArguments> convolution_arguments(const Node* node) {
  const std::string kind = node->kind().toUnqualString();
  if (kind == "conv1d" || kind == "conv2d" || kind == "conv3d") return ConvolutionArguments{};
  if (kind == "conv_transpose1d" || kind == "conv_transpose2d" || kind == "conv_transpose3d")
    return ConvolutionArguments{3, 4, 7, 6, true};
  if (kind == "_convolution" || kind == "convolution") {
    const auto transposed = toIValue(node->input(6));
    return ConvolutionArguments{3, 4, 5, 8, transposed && transposed->isBool() && transposed->toBool()};
  }
  return std::nullopt;
}

void describe_convolution(Layer& layer, const Node* node, const ConvolutionArguments& arguments) {
  layer.kind = LayerKind::convolution;
  layer.transposed = arguments.transposed;
  const auto stride = integers(node->input(arguments.stride)), padding = integers(node->input(arguments.padding)),
             dilation = integers(node->input(arguments.dilation));
  const auto groups = toIValue(node->input(arguments.groups));
  if (!stride || !padding || !dilation || !groups || !groups->isInt()) {
    layer.obstacle = "its stride, padding, dilation or groups are not constant lists of integers";
    return;
  }
  layer.stride = *stride, layer.padding = *padding, layer.dilation = *dilation;
  layer.groups = groups->toInt();
  if (layer.transposed) layer.obstacle = "transposed convolutions are left alone";
  if (layer.weight_shape.size() != 4) layer.obstacle = "only two-dimensional convolutions are quantized";
}

/// The layer that a node computes, if it is one whose weight is a parameter.
std::optional<Layer> layer_of(const StepGraph& graph, const Node* node) {
  const auto convolution = convolution_arguments(node);
  const bool linear = node->kind() == c10::aten::linear;
  if (!convolution && !linear) return std::nullopt;
  Layer layer;
  layer.weight_name = graph.attribute_path(node->input(1)).value_or("");
  if (layer.weight_name.empty()) return std::nullopt;  // a computed weight
  layer.name = module_of(layer.weight_name);
  const at::Tensor weight = graph.fixed(graph.slot_of(node->input(1)))->toTensor();
  layer.weight_shape = weight.sizes().vec();
  if (convolution) {
    describe_convolution(layer, node, *convolution);
  } else {
    layer.kind = LayerKind::linear;
  }
  if (weight.scalar_type() != at::kFloat) layer.obstacle = "its weight is not float32";
  return layer;
}

std::optional<BatchNormStep> batch_norm_of(const StepGraph& graph, const Node* node) {
  if (node->kind() != c10::aten::batch_norm) return std::nullopt;
  BatchNormStep step;
  step.scale = graph.attribute_path(node->input(1)).value_or("");
  step.shift = graph.attribute_path(node->input(2)).value_or("");
  step.running_mean = graph.attribute_path(node->input(3)).value_or("");
  step.running_variance = graph.attribute_path(node->input(4)).value_or("");
  const auto epsilon = toIValue(node->input(7));
  if (step.running_mean.empty() || step.running_variance.empty() || !epsilon) return std::nullopt;
  step.epsilon = epsilon->toDouble();
  step.name = module_of(step.running_mean);
  return step;
}

void list_module(const torch::jit::Module& module, const std::string& prefix, std::vector<TensorInfo>& list,
                 std::map<const void*, std::string>& seen) {
  const auto add = [&](const std::string& name, const at::Tensor& tensor, TensorRole role) {
    TensorInfo info{prefix + name, std::string(c10::toString(tensor.scalar_type())), tensor.sizes().vec(), role};
    static const std::map<std::string, std::string> names = {
        {"Float", "float32"}, {"Half", "float16"}, {"BFloat16", "bfloat16"}, {"Double", "float64"}, {"Long", "int64"},
        {"Int", "int32"},     {"Char", "int8"},    {"Byte", "uint8"},        {"Bool", "bool"}};
    if (const auto known = names.find(info.dtype); known != names.end()) info.dtype = known->second;
    const auto [first, inserted] = seen.try_emplace(tensor.unsafeGetTensorImpl(), info.name);
    if (!inserted) info.tied_to = first->second;
    list.push_back(std::move(info));
  };
  for (const auto& item : module.named_parameters(false)) add(item.name, item.value, TensorRole::bias);
  for (const auto& item : module.named_buffers(false)) add(item.name, item.value, TensorRole::buffer);
  for (const auto& child : module.named_children()) list_module(child.value, prefix + child.name + ".", list, seen);
}

}  // namespace

LayerTable make_layer_table(const StepGraph& graph) {
  LayerTable table;
  std::map<std::string, std::size_t> known;
  for (const Step& step : graph.steps()) {
    const auto index = static_cast<std::int64_t>(table.layer_of_step.size());
    table.norm_of_step.push_back(batch_norm_of(graph, step.node));
    table.layer_of_step.emplace_back(std::nullopt);
    std::optional<Layer> layer = layer_of(graph, step.node);
    if (!layer) continue;
    const auto [place, inserted] = known.try_emplace(layer->weight_name, table.layers.size());
    if (inserted) table.layers.push_back(std::move(*layer));
    table.layers[place->second].steps.push_back(index);
    table.layer_of_step.back() = place->second;
  }
  return table;
}

std::vector<TensorInfo> list_tensors(const torch::jit::Module& module, const LayerTable& table) {
  std::vector<TensorInfo> list;
  std::map<const void*, std::string> seen;
  list_module(module, "", list, seen);
  std::map<std::string, TensorRole> roles;
  for (const Layer& layer : table.layers) roles[layer.weight_name] = TensorRole::weight;
  for (const auto& norm : table.norm_of_step) {
    if (!norm) continue;
    roles[norm->scale] = TensorRole::batch_norm_scale;
    roles[norm->shift] = TensorRole::batch_norm_shift;
    roles[norm->running_mean] = TensorRole::batch_norm_mean;
    roles[norm->running_variance] = TensorRole::batch_norm_variance;
  }
  for (TensorInfo& info : list) {
    if (const auto role = roles.find(info.name); role != roles.end()) info.role = role->second;
  }
  return list;
}

}  // namespace bitfall
