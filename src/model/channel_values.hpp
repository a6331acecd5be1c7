#pragma once
/// What the values of a graph are to someone who follows channels.
#include <torch/csrc/jit/ir/ir.h>

#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "model/channel_layouts.hpp"
#include "model/step_graph.hpp"
#include "model/tensor_table.hpp"

namespace bitfall {

/// The computed values of a graph by slot, with the layouts of their channels as far as they are known.
class ChannelValues {
 public:
  ChannelValues(const StepGraph& graph, std::span<const NamedTensor> tensors);

  /// A tensor, or a list or tuple of tensors.
  struct Held {
    ChannelLayout tensor;
    std::vector<ChannelLayout> items;
    bool is_list = false;
  };

  [[nodiscard]] const StepGraph& graph() const { return graph_; }
  [[nodiscard]] ChannelLayouts& layouts() { return layouts_; }

  /// The first name of the parameter or buffer that a value is, or "".
  [[nodiscard]] std::string tensor_name(const torch::jit::Value* value) const;
  [[nodiscard]] const at::Tensor& tensor(const std::string& name) const { return by_name_.at(name)->tensor; }
  [[nodiscard]] bool is_computed(const torch::jit::Value* value) const {
    return graph_.fixed(graph_.slot_of(value)) == nullptr;
  }
  [[nodiscard]] bool is_none(const torch::jit::Value* value) const;
  /// Numbers, flags and texts, alone or in lists, and None.
  [[nodiscard]] bool holds_no_tensor(const torch::jit::Value* value) const;
  /// The same of all inputs of the node from the one of this index on.
  [[nodiscard]] bool no_tensor_from(const torch::jit::Node* node, std::size_t first) const;

  [[nodiscard]] Held& held(const torch::jit::Value* value) { return held_[graph_.slot_of(value)]; }
  /// A computed tensor whose layout is known; nullptr for everything else.
  [[nodiscard]] const ChannelLayout* known(const torch::jit::Value* value);
  /// The node's outputs have this layout.
  void make(const torch::jit::Node* node, const ChannelLayout& layout);

  /// Whatever the slot holds stays in order, and a list is not known any more.
  void release(std::size_t slot, const std::string& obstacle);
  /// The node is not understood: all that it or its blocks read stays in order, and what it makes is not
  /// known.
  void give_up(const torch::jit::Node* node);

 private:
  void release_inputs(const torch::jit::Node* node, const std::string& obstacle);
  void pin_read_tensors(const torch::jit::Node* node, const std::string& obstacle);
  void pin(const torch::jit::Value* value, const std::string& obstacle);
  void pin_shared_storage();

  const StepGraph& graph_;
  std::span<const NamedTensor> tensors_;
  std::unordered_map<std::string, const NamedTensor*> by_name_;
  std::vector<Held> held_;  ///< by slot
  ChannelLayouts layouts_;
};

}  // namespace bitfall
