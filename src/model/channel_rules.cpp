#include "model/channel_rules.hpp"

#include <torch/csrc/jit/ir/constants.h>

#include <limits>
#include <string>
#include <unordered_map>

namespace bitfall {

using torch::jit::Node;
using torch::jit::toIValue;
using torch::jit::Value;

namespace {

/// "aten::relu_" -> "aten::relu": an operator in place does the same to the channels.
std::string name_of(const Node* node) {
  std::string name = node->kind().toQualString();
  if (name.ends_with('_') && !name.ends_with("__")) name.pop_back();
  return name;
}

std::unordered_map<std::string, ChannelRule> make_table() {
  std::unordered_map<std::string, ChannelRule> table;
  const auto enter = [&](ChannelRule rule, std::initializer_list<const char*> names) {
    for (const char* name : names) table.emplace(name, rule);
  };
  enter(ChannelRule::elementwise, {"aten::relu",         "aten::relu6",       "aten::hardtanh",
                                   "aten::leaky_relu",   "aten::elu",         "aten::celu",
                                   "aten::selu",         "aten::gelu",        "aten::silu",
                                   "aten::mish",         "aten::sigmoid",     "aten::tanh",
                                   "aten::hardswish",    "aten::hardsigmoid", "aten::softplus",
                                   "aten::abs",          "aten::neg",         "aten::exp",
                                   "aten::log",          "aten::sqrt",        "aten::rsqrt",
                                   "aten::square",       "aten::reciprocal",  "aten::clamp",
                                   "aten::clamp_min",    "aten::clamp_max",   "aten::threshold",
                                   "aten::contiguous",   "aten::clone",       "aten::detach",
                                   "aten::dropout",      "aten::to",          "aten::feature_dropout",
                                   "aten::alpha_dropout"});
  enter(ChannelRule::spatial, {"aten::max_pool2d", "aten::avg_pool2d", "aten::adaptive_avg_pool2d",
                               "aten::upsample_nearest2d", "aten::upsample_bilinear2d"});
  enter(ChannelRule::arithmetic,
        {"aten::add", "aten::sub", "aten::mul", "aten::div", "aten::maximum", "aten::minimum"});
  enter(ChannelRule::prelu, {"aten::prelu"});
  enter(ChannelRule::reduction, {"aten::mean", "aten::sum", "aten::amax"});
  enter(ChannelRule::flatten, {"aten::flatten"});
  enter(ChannelRule::view, {"aten::view", "aten::reshape"});
  enter(ChannelRule::cat, {"aten::cat", "aten::concat"});
  enter(ChannelRule::pad, {"aten::pad", "aten::constant_pad_nd"});
  enter(ChannelRule::slice, {"aten::slice"});
  enter(ChannelRule::list, {"prim::ListConstruct", "prim::TupleConstruct"});
  enter(ChannelRule::unpack, {"prim::ListUnpack", "prim::TupleUnpack"});
  enter(ChannelRule::append, {"aten::append"});
  enter(ChannelRule::transposed, {"aten::t"});
  enter(ChannelRule::shape,
        {"aten::size", "aten::dim", "aten::len", "aten::numel", "aten::is_floating_point", "prim::device",
         "prim::dtype", "prim::layout", "aten::__is__", "aten::__isnot__"});
  return table;
}

}  // namespace

ChannelRule channel_rule(const Node* node) {
  static const auto table = make_table();
  const auto found = table.find(name_of(node));
  return found == table.end() ? ChannelRule::unknown : found->second;
}

std::optional<std::int64_t> constant_integer(const Value* value) {
  const auto constant = toIValue(value);
  if (!constant || !constant->isInt()) return std::nullopt;
  return constant->toInt();
}

std::optional<std::vector<std::int64_t>> constant_integers(const Value* value) {
  const auto constant = toIValue(value);
  if (constant && constant->isInt()) return std::vector<std::int64_t>{constant->toInt()};
  if (!constant || !constant->isIntList()) return std::nullopt;
  return constant->toIntVector();
}

bool is_batch_size(const Value* value, const Value* tensor) {
  const Node* node = value->node();
  if (node->kind() == c10::aten::size && node->inputs().size() == 2)
    return node->input(0) == tensor && constant_integer(node->input(1)) == 0;
  if (node->kind() != c10::aten::__getitem__ || constant_integer(node->input(1)) != 0) return false;
  const Node* sizes = node->input(0)->node();
  return sizes->kind() == c10::aten::size && sizes->inputs().size() == 1 && sizes->input(0) == tensor;
}

bool takes_everything(const Node* slice) {
  const auto is = [&](std::size_t input, std::int64_t wanted) {
    const auto constant = toIValue(slice->input(input));
    return constant && (constant->isNone() || (constant->isInt() && constant->toInt() == wanted));
  };
  return is(2, 0) && is(3, std::numeric_limits<std::int64_t>::max()) && is(4, 1);
}

}  // namespace bitfall
