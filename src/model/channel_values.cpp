#include "model/channel_values.hpp"

#include <algorithm>

namespace bitfall {

using torch::jit::Node;
using torch::jit::Value;

ChannelValues::ChannelValues(const StepGraph& graph, std::span<const NamedTensor> tensors)
    : graph_(graph), tensors_(tensors), held_(graph.slot_count()) {
  for (const NamedTensor& tensor : tensors) by_name_.emplace(tensor.name, &tensor);
  held_[graph.input_slot()].tensor.rank = 4;  // [N, C, H, W], and no run: images have their order
  pin_shared_storage();
}

std::string ChannelValues::tensor_name(const Value* value) const {
  const auto found = by_name_.find(graph_.attribute_path(value).value_or(""));
  if (found == by_name_.end()) return {};
  return found->second->tied_to.empty() ? found->first : found->second->tied_to;
}

bool ChannelValues::is_none(const Value* value) const {
  const c10::IValue* fixed = graph_.fixed(graph_.slot_of(value));
  return fixed != nullptr && fixed->isNone();
}

bool ChannelValues::holds_no_tensor(const Value* value) const {
  const auto is_plain = [](const c10::TypePtr& type) {
    switch (type->kind()) {
      case c10::TypeKind::IntType:
      case c10::TypeKind::FloatType:
      case c10::TypeKind::BoolType:
      case c10::TypeKind::NumberType:
      case c10::TypeKind::StringType:
      case c10::TypeKind::DeviceObjType:
        return true;
      default:
        return false;
    }
  };
  const auto list = value->type()->cast<c10::ListType>();
  return is_none(value) || is_plain(list ? list->getElementType() : value->type());
}

bool ChannelValues::no_tensor_from(const Node* node, std::size_t first) const {
  for (std::size_t i = first; i < node->inputs().size(); ++i)
    if (!holds_no_tensor(node->input(i))) return false;
  return true;
}

const ChannelLayout* ChannelValues::known(const Value* value) {
  if (!is_computed(value) || held(value).is_list || !held(value).tensor.known()) return nullptr;
  return &held(value).tensor;
}

void ChannelValues::make(const Node* node, const ChannelLayout& layout) {
  for (const Value* output : node->outputs()) held(output).tensor = layout;
}

void ChannelValues::release(std::size_t slot, const std::string& obstacle) {
  if (graph_.fixed(slot) != nullptr) return;
  layouts_.fix(held_[slot].tensor, obstacle);
  for (const ChannelLayout& item : held_[slot].items) layouts_.fix(item, obstacle);
  if (held_[slot].is_list) held_[slot] = {};
}

void ChannelValues::give_up(const Node* node) {
  const std::string obstacle = std::string(node->kind().toQualString()) + " is on their way";
  pin_read_tensors(node, obstacle);
  release_inputs(node, obstacle);
  for (const Value* output : node->outputs()) held(output) = {};
}

/// Values that nested blocks make have no slot.
void ChannelValues::release_inputs(const Node* node, const std::string& obstacle) {
  const auto release_value = [&](const Value* value) {
    if (value->node()->owningBlock() == graph_.graph().block()) release(graph_.slot_of(value), obstacle);
  };
  for (const Value* value : node->inputs()) release_value(value);
  for (const auto* block : node->blocks()) {
    for (const Value* value : block->outputs()) release_value(value);
    for (const Node* child : block->nodes()) release_inputs(child, obstacle);
  }
}

/// The tensor itself, or all of the module that the value is.
void ChannelValues::pin(const Value* value, const std::string& obstacle) {
  const auto path = graph_.attribute_path(value);
  if (!path) return;
  for (const NamedTensor& tensor : tensors_) {
    if (path->empty() || tensor.name == *path || tensor.name.starts_with(*path + "."))
      layouts_.pin(tensor.tied_to.empty() ? tensor.name : tensor.tied_to, obstacle);
  }
}

/// Every parameter and buffer that the node and its blocks can read.
void ChannelValues::pin_read_tensors(const Node* node, const std::string& obstacle) {
  if (node->kind() != c10::prim::GetAttr)
    for (const Value* value : node->inputs()) pin(value, obstacle);
  for (const auto* block : node->blocks()) {
    for (const Value* value : block->outputs()) pin(value, obstacle);
    for (const Node* child : block->nodes()) pin_read_tensors(child, obstacle);
  }
}

/// Two tensor objects over the same memory: moving one would move the other.
void ChannelValues::pin_shared_storage() {
  std::unordered_map<const void*, const NamedTensor*> owner;
  for (const NamedTensor& tensor : tensors_) {
    if (!tensor.tied_to.empty() || !tensor.tensor.has_storage()) continue;
    const auto [first, is_new] = owner.emplace(tensor.tensor.storage().unsafeGetStorageImpl(), &tensor);
    if (is_new) continue;
    layouts_.pin(tensor.name, "'" + tensor.name + "' shares its memory");
    layouts_.pin(first->second->name, "'" + tensor.name + "' shares its memory");
  }
}

}  // namespace bitfall
