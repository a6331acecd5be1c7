#include "model/step_graph.hpp"

#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/passes/constant_propagation.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/passes/freeze_module.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/passes/peephole.h>
#include <torch/csrc/jit/runtime/operator.h>

#include <functional>
#include <unordered_set>

#include "bitfall/errors.hpp"
#include "model/layer_node.hpp"
#include "model/observed_inputs.hpp"
#include "model/run_state.hpp"

namespace bitfall {

using torch::jit::Block;
using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;

namespace {

/// Values that `node` and its nested blocks read and that are defined outside of it, in order of appearance.
std::vector<Value*> free_values(Node* node) {
  std::vector<Value*> free;
  std::unordered_set<Value*> seen, defined;
  const std::function<void(Node*)> visit = [&](Node* inner) {
    const auto use = [&](Value* value) {
      if (!defined.contains(value) && seen.insert(value).second) free.push_back(value);
    };
    for (Value* value : inner->inputs()) use(value);
    for (Block* block : inner->blocks()) {
      for (Value* value : block->inputs()) defined.insert(value);
      for (Node* child : block->nodes()) {
        visit(child);
        for (Value* value : child->outputs()) defined.insert(value);
      }
      for (Value* value : block->outputs()) use(value);
    }
  };
  visit(node);
  return free;
}

/// The node alone in a graph whose inputs are its free values. Control flow stays inside.
std::shared_ptr<Graph> graph_of(Node* node, const std::vector<Value*>& inputs) {
  auto graph = std::make_shared<Graph>();
  std::unordered_map<Value*, Value*> map;
  for (Value* value : inputs) {
    map[value] = graph->addInput();
    map[value]->setType(value->type());
  }
  Node* clone = graph->createClone(node, [&](Value* value) { return map.at(value); });
  graph->insertNode(clone);
  for (Value* value : clone->outputs()) graph->registerOutput(value);
  return graph;
}

/// True for a call of one ATen operator with all its arguments (aten::wait and aten::warn exist in the
/// interpreter only).
bool is_plain_operator(const Node* node) {
  const bool interpreted = node->kind() == c10::aten::wait || node->kind() == c10::aten::warn;
  if (!node->kind().is_aten() || interpreted || !node->blocks().empty()) return false;
  const torch::jit::Operator* known = node->maybeOperator();
  return known != nullptr && !known->schema().is_vararg() && !known->schema().is_varret() &&
         known->schema().arguments().size() == node->inputs().size() &&
         known->schema().returns().size() == node->outputs().size();
}

void collect_attributes(Block* block, std::vector<Node*>& found) {
  for (Node* node : block->nodes()) {
    if (node->kind() == c10::prim::GetAttr) found.push_back(node);
    for (Block* inner : node->blocks()) collect_attributes(inner, found);
  }
}

/// Moves what reads attributes of the module, which never change, before everything else: parameters that are
/// used inside a loop or a branch become inputs of that step.
void look_up_first(Graph& graph) {
  std::vector<Node*> attributes;
  collect_attributes(graph.block(), attributes);
  std::unordered_set<const Value*> known = {graph.inputs()[0]};
  Node* first = *graph.nodes().begin();
  for (Node* node : attributes) {
    if (!known.contains(node->input())) continue;  // of an object that is computed
    if (node != first)
      node->moveBefore(first);
    else
      first = first->next();
    known.insert(node->output());
  }
}

std::shared_ptr<Graph> prepared_graph(const torch::jit::Module& frozen) {
  std::shared_ptr<Graph> graph = frozen.get_method("forward").graph()->copy();
  torch::jit::Inline(*graph);
  torch::jit::ConstantPropagation(graph);
  torch::jit::PeepholeOptimize(graph, /*disable_shape_peepholes=*/true);
  torch::jit::EliminateDeadCode(graph);
  keep_state_in_run(*graph);
  look_up_first(*graph);
  return graph;
}

/// aten::batch_norm in training mode updates its running statistics, although its schema does not say so.
bool updates_statistics(const Node* node) {
  if (node->kind() != c10::aten::batch_norm) return false;
  const auto training = torch::jit::toIValue(node->input(5));
  return (!training || !training->isBool() || training->toBool()) &&
         node->input(3)->type()->kind() != c10::TypeKind::NoneType;
}

}  // namespace

StepGraph::StepGraph(const torch::jit::Module& module)
    : frozen_(torch::jit::freeze_module(module, {}, /*freezeInterfaces=*/true, /*preserveParameters=*/true)),
      graph_(prepared_graph(frozen_)) {
  if (graph_->inputs().size() < 2) throw DataError("its forward takes no input");
  refuse_state_changes(graph_->block());
  for (Node* node : graph_->nodes())
    for (Block* block : node->blocks()) observe_layers(block);
  fixed_.emplace_back(frozen_._ivalue());
  slots_[graph_->inputs()[0]] = 0;
  input_ = slot(graph_->inputs()[1]);
  set_default_inputs(module);
  for (Node* node : graph_->nodes()) {
    if (!look_up(node)) add_step(node);
  }
  output_ = slots_.at(graph_->outputs()[0]);
  find_last_uses();
}

void StepGraph::observe_layers(Block* block) {
  for (Node* node : block->nodes()) {
    for (Block* inner : node->blocks()) observe_layers(inner);
    const auto layer = as_layer(node);
    if (!layer || !attribute_path(layer->weight)) continue;
    const auto place = static_cast<std::int64_t>(observed_.size());
    for (Value* input : node->inputs()) {
      if (input != layer->input) continue;
      insert_observation(node, input, place);
      observed_.emplace(node, place);
      break;
    }
  }
}

std::optional<std::int64_t> StepGraph::observed_place(const Node* layer) const {
  const auto found = observed_.find(layer);
  return found == observed_.end() ? std::nullopt : std::optional<std::int64_t>(found->second);
}

/// A network that keeps something between images can't be run step by step for all images, nor in parallel.
void StepGraph::refuse_state_changes(const Block* block) const {
  for (const Node* node : block->nodes()) {
    for (const Block* inner : node->blocks()) refuse_state_changes(inner);
    const torch::jit::Operator* known = node->maybeOperator();
    for (std::size_t i = 0; i < node->inputs().size(); ++i) {
      const auto path = attribute_path(node->input(i));
      const bool writes = node->kind() == c10::prim::SetAttr ? i == 0
                          : updates_statistics(node)         ? i == 3
                          : known == nullptr || i >= known->schema().arguments().size()
                              ? false
                              : known->schema().arguments()[i].alias_info() != nullptr &&
                                    known->schema().arguments()[i].alias_info()->isWrite();
      if (!path || !writes) continue;
      const std::string name =
          node->kind() == c10::prim::SetAttr ? *path + " " + node->s(c10::attr::name) : *path;
      throw DataError("its forward changes its own '" + name + "' (" + node->kind().toQualString() +
                      "), so its outputs depend on the order of the images");
    }
  }
}

/// Inputs beyond the image get the defaults of the forward method, or None.
void StepGraph::set_default_inputs(const torch::jit::Module& module) {
  const auto& arguments = module.get_method("forward").function().getSchema().arguments();
  for (std::size_t i = 2; i < graph_->inputs().size(); ++i) {
    const std::optional<c10::IValue> value =
        i < arguments.size() ? arguments[i].default_value() : std::nullopt;
    fixed_[slot(graph_->inputs()[i])] = value.value_or(c10::IValue());
  }
}

/// A slot is dropped by the last step that reads it; outputs that nobody reads by the step that makes them.
void StepGraph::find_last_uses() {
  std::vector<bool> later(fixed_.size(), false);
  later[output_] = true;
  for (auto step = steps_.rbegin(); step != steps_.rend(); ++step) {
    for (const auto* used : {&step->outputs, &step->inputs}) {
      for (const std::size_t slot : *used) {
        if (!later[slot] && !fixed_[slot]) step->last_uses.push_back(slot);
        later[slot] = true;
      }
    }
  }
}

std::size_t StepGraph::slot(const Value* value) {
  const auto [place, inserted] = slots_.try_emplace(value, fixed_.size());
  if (inserted) fixed_.emplace_back(std::nullopt);
  return place->second;
}

/// Reads a constant or an attribute of a known object once; false for anything that has to be computed.
bool StepGraph::look_up(Node* node) {
  if (node->kind() == c10::prim::Constant) {
    const auto value = torch::jit::toIValue(node->output());
    if (!value) return false;
    fixed_[slot(node->output())] = *value;
    return true;
  }
  if (node->kind() != c10::prim::GetAttr) return false;
  const auto& object = fixed_[slots_.at(node->input())];
  if (!object) return false;
  c10::IValue value = object->toObjectRef().getAttr(node->s(c10::attr::name));
  fixed_[slot(node->output())] = std::move(value);
  return true;
}

void StepGraph::add_step(Node* node) {
  Step step;
  step.node = node;
  const std::vector<Value*> inputs = free_values(node);
  if (is_plain_operator(node)) {
    step.operation = node->getOperation();
    for (const Value* value : node->inputs()) step.inputs.push_back(slots_.at(value));
  } else {
    step.code = std::make_unique<torch::jit::Code>(graph_of(node, inputs), "step");
    for (const Value* value : inputs) step.inputs.push_back(slots_.at(value));
  }
  for (const Value* value : node->outputs()) step.outputs.push_back(slot(value));
  steps_.push_back(std::move(step));
}

std::optional<std::string> StepGraph::attribute_path(const Value* value) const {
  if (value == graph_->inputs()[0]) return "";
  const Node* node = value->node();
  if (node->kind() != c10::prim::GetAttr) return std::nullopt;
  const std::optional<std::string> parent = attribute_path(node->input());
  if (!parent) return std::nullopt;
  const std::string name = node->s(c10::attr::name);
  return parent->empty() ? name : *parent + "." + name;
}

}  // namespace bitfall
