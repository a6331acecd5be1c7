#pragma once
/// The steps of a frozen graph, ready to run one by one.
#include <ATen/core/ivalue.h>
#include <ATen/core/stack.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/runtime/interpreter.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace bitfall {

/// One top-level node of the graph that computes something. Values live in numbered slots.
struct Step {
  torch::jit::Node* node = nullptr;
  /// The operator itself where the node is a plain one: its errors then come without a TorchScript traceback.
  std::optional<torch::jit::Operation> operation;
  /// The node compiled alone, for everything else (control flow, lists, tuples).
  std::unique_ptr<torch::jit::Code> code;
  std::vector<std::size_t> inputs, outputs;
  std::vector<std::size_t> last_uses;  ///< slots that nothing reads after this step
};

/// A frozen, inlined forward graph cut into steps. Constants, parameters and buffers are looked up once: they
/// share storage with the original module and are only ever changed in place, so what was looked up stays
/// true.
class StepGraph {
 public:
  /// `module` must be in eval mode. Throws DataError when it changes numbers or tensors of its own while it
  /// runs (then the order of images would matter; for others see run_state.hpp) or takes no input.
  explicit StepGraph(const torch::jit::Module& module);

  [[nodiscard]] const std::vector<Step>& steps() const { return steps_; }
  [[nodiscard]] const torch::jit::Graph& graph() const { return *graph_; }
  [[nodiscard]] std::size_t slot_count() const { return fixed_.size(); }
  /// Slot of the network's first input / of its output.
  [[nodiscard]] std::size_t input_slot() const { return input_; }
  [[nodiscard]] std::size_t output_slot() const { return output_; }
  /// The value that a slot has for every image (a parameter, a constant); nullptr for a computed value.
  [[nodiscard]] const c10::IValue* fixed(std::size_t slot) const {
    return fixed_[slot] ? &*fixed_[slot] : nullptr;
  }
  [[nodiscard]] std::size_t slot_of(const torch::jit::Value* value) const { return slots_.at(value); }
  /// The qualified attribute name ("layer1.0.conv2.weight") that a value at any depth of the graph is read
  /// from; "" for the module itself, nothing for a value that is computed.
  [[nodiscard]] std::optional<std::string> attribute_path(const torch::jit::Value* value) const;
  /// The number under which a layer's node inside a loop or a branch reports its inputs
  /// (observed_inputs.hpp).
  [[nodiscard]] std::optional<std::int64_t> observed_place(const torch::jit::Node* layer) const;

 private:
  void observe_layers(torch::jit::Block* block);
  void refuse_state_changes(const torch::jit::Block* block) const;
  void set_default_inputs(const torch::jit::Module& module);
  void add_step(torch::jit::Node* node);
  void find_last_uses();
  bool look_up(torch::jit::Node* node);
  std::size_t slot(const torch::jit::Value* value);

  torch::jit::Module frozen_;
  std::shared_ptr<torch::jit::Graph> graph_;
  std::vector<Step> steps_;
  std::unordered_map<const torch::jit::Value*, std::size_t> slots_;
  std::vector<std::optional<c10::IValue>> fixed_;
  std::size_t input_ = 0, output_ = 0;
  std::unordered_map<const torch::jit::Node*, std::int64_t> observed_;
};

}  // namespace bitfall
