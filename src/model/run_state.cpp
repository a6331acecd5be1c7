#include "model/run_state.hpp"

#include <torch/csrc/jit/runtime/custom_operator.h>

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace bitfall {
namespace {

using torch::jit::Block;
using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;

void copy_object(torch::jit::Stack& stack) {
  const auto object = torch::jit::pop(stack).toObject();
  torch::jit::push(stack, object->copy());  // shallow: the tensors are shared
}

const torch::jit::RegisterOperators copy_operator({torch::jit::Operator(
    "bitfall::copy_object(t object) -> t", copy_object, c10::AliasAnalysisKind::CONSERVATIVE)});

/// Where in the module an object lies ("rpn.anchor_generator"); nothing for one that is computed.
std::optional<std::string> object_path(const Value* object, const Graph& graph) {
  if (object == graph.inputs()[0]) return "";
  if (object->node()->kind() != c10::prim::GetAttr) return std::nullopt;
  const auto parent = object_path(object->node()->input(), graph);
  return parent ? std::optional(*parent + "." + object->node()->s(c10::attr::name)) : std::nullopt;
}

bool may_be_kept(const c10::TypePtr& type) {
  if (const auto optional = type->cast<c10::OptionalType>()) return may_be_kept(optional->getElementType());
  return type->kind() == c10::TypeKind::ListType || type->kind() == c10::TypeKind::ClassType ||
         type->kind() == c10::TypeKind::BoolType;
}

void collect_nodes(Block* block, c10::Symbol kind, std::vector<Node*>& found) {
  for (Node* node : block->nodes()) {
    if (node->kind() == kind) found.push_back(node);
    for (Block* inner : node->blocks()) collect_nodes(inner, kind, found);
  }
}

}  // namespace

void keep_state_in_run(Graph& graph) {
  std::vector<Node*> warnings, writers, readers;
  collect_nodes(graph.block(), c10::aten::warn, warnings);
  for (Node* warning : warnings) warning->destroy();  // once in a process, as it was meant, is beyond a run
  collect_nodes(graph.block(), c10::prim::SetAttr, writers);
  collect_nodes(graph.block(), c10::prim::GetAttr, readers);
  using Place = std::pair<std::string, std::string>;  // object, attribute
  std::set<Place> changed;
  std::map<std::string, Value*> objects;
  for (const Node* writer : writers) {
    const auto path = object_path(writer->input(0), graph);
    if (!path || !may_be_kept(writer->input(0)->type()->expectRef<c10::ClassType>().getAttribute(
                     writer->s(c10::attr::name))))
      continue;
    changed.emplace(*path, writer->s(c10::attr::name));
    objects.emplace(*path, writer->input(0));
  }
  // One copy of each object, made before everything else; who reads or writes what changes goes there.
  std::map<std::string, Value*> copies;
  for (const auto& [path, object] : objects) {
    std::vector<Node*> lookups;  // the object may be looked up inside a block: again, at the top
    for (Value* value = object; value != graph.inputs()[0]; value = value->node()->input())
      lookups.push_back(value->node());
    Value* original = graph.inputs()[0];
    const torch::jit::WithInsertPoint top(*graph.nodes().begin());
    for (auto lookup = lookups.rbegin(); lookup != lookups.rend(); ++lookup) {
      Node* again = graph.insertNode(graph.createGetAttr(original, (*lookup)->s(c10::attr::name)));
      original = again->output();
    }
    Node* copy =
        graph.insertNode(graph.create(c10::Symbol::fromQualString("bitfall::copy_object"), {original}, 1));
    copy->output()->setType(original->type());
    copies.emplace(path, copy->output());
  }
  for (const auto* nodes : {&writers, &readers}) {
    for (Node* node : *nodes) {
      const auto path = object_path(node->input(0), graph);
      if (path && changed.contains({*path, node->s(c10::attr::name)}))
        node->replaceInput(0, copies.at(*path));
    }
  }
}

}  // namespace bitfall
