#include "model/layer_table.hpp"

#include <torch/csrc/jit/ir/constants.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <unordered_map>

#include "bitfall/errors.hpp"
#include "model/batch_norm_node.hpp"
#include "model/layer_node.hpp"

namespace bitfall {

using torch::jit::Node;
using torch::jit::Value;

namespace {

/// "layer1.0.conv2.weight" -> "layer1.0.conv2"; a weight of another name keeps it, because its module may
/// have several.
std::string layer_name(const std::string& weight_name) {
  constexpr std::string_view ending = ".weight";
  return weight_name.ends_with(ending) ? weight_name.substr(0, weight_name.size() - ending.size())
                                       : weight_name;
}

bool same_form(const Layer& a, const Layer& b) {
  return a.kind == b.kind && a.stride == b.stride && a.padding == b.padding && a.dilation == b.dilation &&
         a.groups == b.groups && a.transposed == b.transposed;
}

class Builder {
 public:
  Builder(const StepGraph& graph, std::span<const NamedTensor> tensors) : graph_(graph), tensors_(tensors) {
    for (const NamedTensor& tensor : tensors) by_name_.emplace(tensor.name, &tensor);
  }

  LayerTable build() {
    table_.steps.resize(graph_.steps().size());
    for (std::size_t step = 0; step < table_.steps.size(); ++step) {
      visit(graph_.steps()[step].node, static_cast<std::int64_t>(step), true);
    }
    for (std::size_t i = 0; i < table_.layers.size(); ++i)
      table_.steps[static_cast<std::size_t>(table_.layers[i].steps.front())].first_uses.push_back(i);
    for (BatchNormStep& norm : table_.norms) norm.foldable = is_foldable(norm);
    for (std::size_t step = 0; step < table_.steps.size(); ++step) find_bias(step);
    find_shortcuts();
    list_tensors();
    return std::move(table_);
  }

 private:
  /// A node that is a step itself (`direct`), or lies inside the blocks of one.
  void visit(const Node* node, std::int64_t step, bool direct) {
    if (const auto layer = as_layer(node)) add_layer(*layer, node, step, direct);
    const auto norm = as_batch_norm(node, [this](const Value* value) { return tensor_name(value); });
    if (norm) add_norm(*norm, node, step, direct);
    for (const Value* value : node->inputs()) {
      const std::string name = tensor_name(value);
      if (!name.empty()) uses_[name].insert(norm ? key_of(*norm) : std::string("not a batch norm"));
    }
    for (const auto* block : node->blocks()) {
      for (const Node* inner : block->nodes()) visit(inner, step, false);
    }
  }

  /// The first name of the parameter or buffer that a value is; empty when it is something else.
  std::string tensor_name(const Value* value) const {
    const auto found = by_name_.find(graph_.attribute_path(value).value_or(""));
    if (found == by_name_.end()) return {};
    return found->second->tied_to.empty() ? found->first : found->second->tied_to;
  }

  void add_layer(const LayerNode& found, const Node* node, std::int64_t step, bool direct) {
    const std::string weight = tensor_name(found.weight);
    Layer layer = weight.empty() ? layer_of_computed_weight(node, step) : layer_of_parameter(weight);
    layer.kind = found.kind;
    if (layer.kind == LayerKind::convolution && !weight.empty()) {
      std::string obstacle = describe_convolution(node, layer);
      if (layer.obstacle.empty()) layer.obstacle = std::move(obstacle);
    }
    if (layer.kind == LayerKind::linear && layer.weight_shape.size() != 2 && layer.obstacle.empty()) {
      layer.obstacle = "its weight is not a matrix";
    }
    const std::size_t index = merge(layer, step);
    StepMeaning& meaning = table_.steps[static_cast<std::size_t>(step)];
    if (!direct) {
      if (const auto place = graph_.observed_place(node)) meaning.observed.emplace_back(*place, index);
      return;
    }
    meaning.layer = index;
    meaning.input = graph_.slot_of(found.input);
  }

  Layer layer_of_parameter(const std::string& weight) const {
    const NamedTensor& tensor = *by_name_.at(weight);
    Layer layer;
    layer.name = layer_name(weight);
    layer.weight_name = weight;
    layer.weight_shape = tensor.tensor.sizes().vec();
    if (!tensor.is_parameter) layer.obstacle = "its weight is a buffer, not a parameter";
    if (tensor.tensor.scalar_type() != at::kFloat) {
      layer.obstacle = "its weight is " + dtype_name(tensor) + ", only float32 is quantized";
    }
    return layer;
  }

  Layer layer_of_computed_weight(const Node* node, std::int64_t step) const {
    Layer layer;
    layer.name = std::string(node->kind().toQualString()) + "@" + std::to_string(step);
    layer.obstacle = "its weight is computed or a constant of the graph, not a parameter";
    return layer;
  }

  /// Adds the layer, or this use of it when it is known.
  std::size_t merge(const Layer& layer, std::int64_t step) {
    const std::string& key = layer.weight_name.empty() ? layer.name : layer.weight_name;
    const auto [place, is_new] = layer_index_.emplace(key, table_.layers.size());
    if (is_new) table_.layers.push_back(layer);
    Layer& known = table_.layers[place->second];
    if (!is_new && known.obstacle.empty()) {
      known.obstacle = !layer.obstacle.empty()    ? "another use of the weight: " + layer.obstacle
                       : !same_form(known, layer) ? "its weight is used with different strides or paddings"
                                                  : "";
    }
    if (known.steps.empty() || known.steps.back() != step) known.steps.push_back(step);
    return place->second;
  }

  void add_norm(const BatchNormStep& norm, const Node* node, std::int64_t step, bool direct) {
    const auto role = [this](const std::string& name, TensorRole value) {
      if (!name.empty()) roles_.emplace(name, value);
    };
    role(norm.scale, TensorRole::batch_norm_scale);
    role(norm.shift, TensorRole::batch_norm_shift);
    role(norm.running_mean, TensorRole::batch_norm_mean);
    role(norm.running_variance, TensorRole::batch_norm_variance);
    if (!direct || norm.running_mean.empty() || norm.running_variance.empty()) return;
    StepMeaning& meaning = table_.steps[static_cast<std::size_t>(step)];
    meaning.norm = table_.norms.size();
    meaning.input = graph_.slot_of(node->input(0));
    table_.norms.push_back(norm);
  }

  static std::string key_of(const BatchNormStep& norm) {
    return norm.running_mean + "|" + norm.running_variance + "|" + norm.scale + "|" + norm.shift + "|" +
           std::to_string(norm.epsilon);
  }

  /// Affine, and no other node reads its four tensors in another way.
  bool is_foldable(const BatchNormStep& norm) const {
    for (const std::string* name : {&norm.scale, &norm.shift, &norm.running_mean, &norm.running_variance}) {
      const auto used = uses_.find(*name);
      if (used == uses_.end() || used->second != std::set<std::string>{key_of(norm)}) return false;
    }
    return true;
  }

  void find_bias(std::size_t step) {
    StepMeaning& meaning = table_.steps[step];
    const Node* node = graph_.steps()[step].node;
    if (!meaning.layer || node->outputs().size() != 1 || node->output()->uses().empty()) return;
    const Layer& layer = table_.layers[*meaning.layer];
    const bool plain = layer.kind == LayerKind::convolution && layer.weight_shape.size() == 4 &&
                       layer.groups == 1 && !layer.transposed && layer.steps.size() == 1 &&
                       layer.obstacle.empty();
    if (!plain) return;
    const std::size_t slot = graph_.slot_of(node->input(2));
    if (graph_.fixed(slot) != nullptr) meaning.bias = slot;
  }

  void find_shortcuts() {
    std::map<std::size_t, std::size_t> made_by;  // slot -> step
    std::map<const Node*, std::size_t> step_of;
    for (std::size_t step = 0; step < table_.steps.size(); ++step) {
      step_of[graph_.steps()[step].node] = step;
      for (const std::size_t slot : graph_.steps()[step].outputs) made_by[slot] = step;
    }
    for (std::size_t step = 0; step < table_.steps.size(); ++step) {
      if (!table_.steps[step].layer || graph_.steps()[step].node->outputs().size() != 1) continue;
      const Value* value = graph_.steps()[step].node->output();
      std::optional<std::size_t> norm;
      const Node* user = only_user(value);
      if (user != nullptr && step_of.contains(user) && table_.steps[step_of.at(user)].norm) {
        norm = table_.steps[step_of.at(user)].norm;
        value = user->output();
        user = only_user(value);
      }
      if (user == nullptr || !step_of.contains(user) || !is_plain_sum(user)) continue;
      const Value* other = user->input(0) == value ? user->input(1) : user->input(0);
      if (other == value || !other->type()->isSubtypeOf(*c10::TensorType::get())) continue;
      const std::size_t slot = graph_.slot_of(other);
      const auto made = made_by.find(slot);
      if (graph_.fixed(slot) != nullptr || (made != made_by.end() && made->second >= step)) continue;
      table_.steps[step].sum = ShortcutSum{slot, norm};
    }
  }

  static const Node* only_user(const Value* value) {
    return value->uses().size() == 1 ? value->uses().front().user : nullptr;
  }

  /// aten::add or add_ of two tensors with a factor of 1.
  static bool is_plain_sum(const Node* node) {
    if ((node->kind() != c10::aten::add && node->kind() != c10::aten::add_) || node->inputs().size() != 3)
      return false;
    const auto factor = torch::jit::toIValue(node->input(2));
    return factor && factor->isInt() && factor->toInt() == 1;
  }

  void list_tensors() {
    for (const Layer& layer : table_.layers) roles_[layer.weight_name] = TensorRole::weight;
    for (const NamedTensor& tensor : tensors_) {
      const auto role = roles_.find(tensor.tied_to.empty() ? tensor.name : tensor.tied_to);
      const TensorRole other =
          tensor.is_parameter && tensor.tensor.is_floating_point() ? TensorRole::bias : TensorRole::buffer;
      table_.tensors.push_back({tensor.name, dtype_name(tensor), tensor.tensor.sizes().vec(),
                                role == roles_.end() ? other : role->second, tensor.tied_to});
    }
  }

  const StepGraph& graph_;
  std::span<const NamedTensor> tensors_;
  std::unordered_map<std::string, const NamedTensor*> by_name_;
  std::map<std::string, std::size_t> layer_index_;
  std::map<std::string, TensorRole> roles_;
  std::map<std::string, std::set<std::string>> uses_;  ///< by tensor: which batch norms read it
  LayerTable table_;
};

}  // namespace

LayerTable make_layer_table(const StepGraph& graph, std::span<const NamedTensor> tensors) {
  return Builder(graph, tensors).build();
}

}  // namespace bitfall
