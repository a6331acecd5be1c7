#include "model/channel_graph.hpp"

#include <c10/core/GradMode.h>
#include <torch/csrc/jit/ir/constants.h>

#include <algorithm>
#include <string>
#include <vector>

#include "bitfall/network.hpp"
#include "model/batch_norm_node.hpp"
#include "model/channel_rules.hpp"
#include "model/channel_values.hpp"
#include "model/layer_node.hpp"
#include "model/module_file.hpp"

namespace bitfall {

using torch::jit::Node;
using torch::jit::Value;

namespace {

std::string where(const Node* node) {
  return node->kind().toQualString();
}

bool is_tensor(const Value* value) {
  return value->type()->isSubtypeOf(*c10::TensorType::get());
}

class Follower : private ChannelValues {
 public:
  using ChannelValues::ChannelValues;

  ChannelGraph follow() {
    for (const Step& step : graph().steps()) {
      if (!understand(step.node)) give_up(step.node);
    }
    release(graph().output_slot(), "the network's output has their order");
    return layouts().finish();
  }

 private:
  /// Joins what the node joins and notes what it makes; false, with nothing done, when that is not known.
  bool understand(const Node* node) {
    if (const auto layer = as_layer(node)) return follow_layer(node, *layer);
    if (node->kind() == c10::aten::batch_norm) return follow_batch_norm(node);
    switch (channel_rule(node)) {
      case ChannelRule::elementwise:
      case ChannelRule::spatial:
        return pass_on(node);
      case ChannelRule::arithmetic:
        return combine(node);
      case ChannelRule::prelu:
        return follow_prelu(node);
      case ChannelRule::reduction:
        return reduce(node);
      case ChannelRule::flatten:
        return flatten(node);
      case ChannelRule::view:
        return view(node);
      case ChannelRule::cat:
        return concatenate(node);
      case ChannelRule::pad:
        return pad(node);
      case ChannelRule::slice:
        return slice(node);
      case ChannelRule::list:
        return make_list(node);
      case ChannelRule::unpack:
        return unpack(node);
      case ChannelRule::append:
        return append(node);
      case ChannelRule::transposed:
        return feeds_layers_alone(node);
      case ChannelRule::shape:
        return true;
      case ChannelRule::unknown:
        return false;
    }
    return false;
  }

  // --- layers ---

  bool follow_layer(const Node* node, const LayerNode& found) {
    const ChannelLayout* input = known(found.input);
    const std::string weight = tensor_name(found.weight);
    if (input == nullptr || weight.empty()) return false;
    const at::Tensor& values = tensor(weight);
    return found.kind == LayerKind::linear ? follow_linear(node, *input, weight, values)
                                           : follow_convolution(node, *input, weight, values);
  }

  bool follow_linear(const Node* node, const ChannelLayout& input, const std::string& weight,
                     const at::Tensor& values) {
    ChannelLayout columns;
    if (input.rank != 2 || values.dim() != 2 || !layouts().resolve(input, values.size(1), columns))
      return false;
    const bool addmm = node->kind() == c10::aten::addmm;
    const bool has_bias = addmm || node->kind() == c10::aten::linear;
    ChannelLayout output{.rank = 2, .unit_space = true};
    output.runs.push_back({layouts().new_stream(values.size(0)), 1});
    layouts().bind(weight, {output, columns}, where(node));
    if (has_bias) bind_vector(node->input(addmm ? 0 : 2), output, node);
    make(node, output);
    return true;
  }

  bool follow_convolution(const Node* node, const ChannelLayout& input, const std::string& weight,
                          const at::Tensor& values) {
    Layer layer;
    layer.weight_shape = values.sizes().vec();
    (void)describe_convolution(node, layer);
    if (input.rank != values.dim() || input.flattened || layer.stride.empty()) return false;
    ChannelLayout output{.rank = input.rank, .unit_space = false};
    std::vector<ChannelLayout> axes(static_cast<std::size_t>(values.dim()));
    const bool depthwise = layer.groups > 1 && !layer.transposed && values.size(1) == 1;
    if (layer.groups == 1) {
      const std::int64_t in_axis = layer.transposed ? 0 : 1;
      ChannelLayout columns;
      if (!layouts().resolve(input, values.size(in_axis), columns)) return false;
      output.runs.push_back({layouts().new_stream(values.size(1 - in_axis)), 1});
      axes[static_cast<std::size_t>(in_axis)] = columns;
      axes[static_cast<std::size_t>(1 - in_axis)] = output;
      output.unit_space =
          input.unit_space && layer.kernel_elements() == 1 &&
          std::all_of(layer.padding.begin(), layer.padding.end(), [](auto p) { return p == 0; });
    } else if (depthwise && !input.runs.empty() && layouts().entries(input) == layer.groups) {
      output.runs = input.runs;  // channel c of the input makes the outputs c * multiplier ...
      for (ChannelRun& run : output.runs) run.expansion *= values.size(0) / layer.groups;
      axes[0] = output;
    } else {
      layouts().fix(input, where(node) + " in groups is on their way");
    }
    layouts().bind(weight, axes, where(node));
    bind_vector(node->input(2), output, node);
    make(node, output);
    return true;
  }

  /// A bias, a batch norm's vector: one value for each channel.
  void bind_vector(const Value* value, const ChannelLayout& channels, const Node* node) {
    if (is_none(value)) return;
    const std::string name = tensor_name(value);
    ChannelLayout entries;
    if (!name.empty() && tensor(name).dim() == 1 &&
        layouts().resolve(channels, tensor(name).size(0), entries)) {
      layouts().bind(name, {entries}, where(node));
      return;
    }
    layouts().fix(channels, where(node) + " has a vector that is no parameter");
    if (!name.empty()) layouts().pin(name, where(node) + " reads it in another way");
  }

  bool follow_batch_norm(const Node* node) {
    const ChannelLayout* input = known(node->input(0));
    if (input == nullptr) return false;
    for (std::size_t i = 1; i <= 4; ++i) {
      if (is_computed(node->input(i))) return false;
    }
    const ChannelLayout channels = *input;
    for (std::size_t i = 1; i <= 4; ++i) bind_vector(node->input(i), channels, node);
    make(node, channels);
    return true;
  }

  // --- operators that keep channels ---

  bool pass_on(const Node* node) {
    const ChannelLayout* input = known(node->input(0));
    if (input == nullptr || !no_tensor_from(node, 1)) return false;
    ChannelLayout output = *input;
    if (channel_rule(node) == ChannelRule::spatial) {
      if (input->rank != 4) return false;
      const auto size = constant_integers(node->input(1));
      output.unit_space = node->kind() == c10::aten::adaptive_avg_pool2d && size &&
                          std::all_of(size->begin(), size->end(), [](auto s) { return s == 1; });
    }
    make(node, output);
    return true;
  }

  bool follow_prelu(const Node* node) {
    const ChannelLayout* input = known(node->input(0));
    const std::string slopes = tensor_name(node->input(1));
    if (input == nullptr || slopes.empty()) return false;
    const ChannelLayout channels = *input;
    if (tensor(slopes).numel() == 1)
      layouts().bind(slopes, std::vector<ChannelLayout>(static_cast<std::size_t>(tensor(slopes).dim())),
                     where(node));
    else
      bind_vector(node->input(1), channels, node);
    make(node, channels);
    return true;
  }

  /// a + b, a * parameter, a / 2
  bool combine(const Node* node) {
    if (node->inputs().size() < 2 || !no_tensor_from(node, 2)) return false;
    const Value *left = node->input(0), *right = node->input(1);
    const ChannelLayout *a = known(left), *b = known(right);
    if (a != nullptr && b != nullptr) {
      if (a->rank != b->rank) return false;
      const bool a_is_wider = layouts().entries(*a) >= layouts().entries(*b);
      ChannelLayout output = a_is_wider ? *a : *b;
      output.unit_space = a->unit_space && b->unit_space;
      const ChannelLayout& narrower = a_is_wider ? *b : *a;
      const bool broadcast = layouts().entries(narrower) == 1 && !narrower.flattened && !output.runs.empty();
      if (!broadcast) layouts().join(*a, *b, where(node));
      make(node, output);
      return true;
    }
    const ChannelLayout* only = a != nullptr ? a : b;
    if (only == nullptr) return false;
    ChannelLayout output = *only;
    const Value* other = a != nullptr ? right : left;
    if (!holds_no_tensor(other) && !combine_with_fixed(other, output, node)) return false;
    make(node, output);
    return true;
  }

  /// A parameter, buffer or constant that is broadcast along the channels, or has a value for each.
  bool combine_with_fixed(const Value* other, ChannelLayout& channels, const Node* node) {
    const c10::IValue* fixed = graph().fixed(graph().slot_of(other));
    if (fixed == nullptr || !fixed->isTensor()) return false;
    const at::Tensor& values = fixed->toTensor();
    const std::int64_t axis = values.dim() - channels.rank + 1;
    if (values.dim() > channels.rank) return false;
    const std::string name = tensor_name(other);
    std::vector<ChannelLayout> axes(static_cast<std::size_t>(values.dim()));
    if (axis >= 0 && values.size(axis) != 1) {
      ChannelLayout& entries = axes[static_cast<std::size_t>(axis)];
      if (name.empty() || channels.runs.empty() || !layouts().resolve(channels, values.size(axis), entries))
        return false;
    }
    if (!name.empty()) layouts().bind(name, axes, where(node));
    const std::int64_t along_channels = axis >= 0 ? values.size(axis) : 1;
    channels.unit_space = channels.unit_space && values.numel() == along_channels;
    return true;
  }

  bool reduce(const Node* node) {
    const ChannelLayout* input = known(node->input(0));
    const auto axes = node->inputs().size() < 3 ? std::nullopt : constant_integers(node->input(1));
    const auto keep = node->inputs().size() < 3 ? std::nullopt : torch::jit::toIValue(node->input(2));
    if (input == nullptr || input->flattened || !axes || axes->empty() || !keep || !keep->isBool())
      return false;
    ChannelLayout output = *input;
    for (const std::int64_t axis : *axes) {
      if (positive_axis(axis, input->rank) < 2) return false;
    }
    output.unit_space = input->unit_space || static_cast<std::int64_t>(axes->size()) == input->rank - 2;
    if (!keep->toBool()) output.rank -= static_cast<std::int64_t>(axes->size());
    make(node, output);
    return true;
  }

  bool flatten(const Node* node) {
    const ChannelLayout* input = known(node->input(0));
    const auto first = constant_integer(node->input(1)), last = constant_integer(node->input(2));
    if (input == nullptr || !first || !last || positive_axis(*first, input->rank) != 1 ||
        positive_axis(*last, input->rank) != input->rank - 1)
      return false;
    make(node, flat(*input));
    return true;
  }

  [[nodiscard]] static ChannelLayout flat(const ChannelLayout& input) {
    ChannelLayout output = input;
    output.flattened = input.flattened || (input.rank > 2 && !input.unit_space);
    output.rank = 2;
    output.unit_space = true;
    return output;
  }

  /// x.view(x.size(0), -1), or x.view(-1, C) of C channels with one position each.
  bool view(const Node* node) {
    const ChannelLayout* input = known(node->input(0));
    const Node* sizes = node->input(1)->node();
    if (input == nullptr) return false;
    bool flattens = false;
    if (sizes->kind() == c10::prim::ListConstruct && sizes->inputs().size() == 2) {
      flattens = is_batch_size(sizes->input(0), node->input(0)) && constant_integer(sizes->input(1)) == -1;
    } else if (const auto constant = constant_integers(node->input(1))) {
      flattens = constant->size() == 2 && constant->front() == -1 && input->unit_space && !input->flattened &&
                 !input->runs.empty() && constant->back() == layouts().entries(*input);
    }
    if (!flattens) return false;
    make(node, flat(*input));
    return true;
  }

  /// Positions can be padded; channels that are stay in order, and so do those that come of it.
  bool pad(const Node* node) {
    const ChannelLayout* input = known(node->input(0));
    const auto widths = constant_integers(node->input(1));
    if (input == nullptr || !widths || !no_tensor_from(node, 1)) return false;
    ChannelLayout output = *input;
    output.unit_space = false;
    if (static_cast<std::int64_t>(widths->size()) > 2 * (input->rank - 2)) keep_order(output, node);
    make(node, output);
    return true;
  }

  /// Positions and images can be sliced; channels as above.
  bool slice(const Node* node) {
    const ChannelLayout* input = known(node->input(0));
    const auto axis = constant_integer(node->input(1));
    if (input == nullptr || !axis) return false;
    ChannelLayout output = *input;
    if (positive_axis(*axis, input->rank) == 1 && !takes_everything(node)) keep_order(output, node);
    make(node, output);
    return true;
  }

  void keep_order(ChannelLayout& layout, const Node* node) {
    layouts().fix(layout, where(node) + " is on their way");
    layout.runs.clear();
  }

  bool concatenate(const Node* node) {
    const auto axis = constant_integer(node->input(1));
    if (!is_computed(node->input(0)) || !held(node->input(0)).is_list || !axis) return false;
    const std::vector<ChannelLayout> items = held(node->input(0)).items;
    if (items.empty()) return false;
    for (const ChannelLayout& item : items) {
      if (!item.known() || item.rank != items[0].rank || item.flattened || item.runs.empty()) return false;
    }
    ChannelLayout output = items[0];
    for (std::size_t i = 1; i < items.size(); ++i) {
      if (positive_axis(*axis, output.rank) == 1) {
        output.runs.insert(output.runs.end(), items[i].runs.begin(), items[i].runs.end());
        output.unit_space = output.unit_space && items[i].unit_space;
      } else {
        layouts().join(output, items[i], where(node));
        output.unit_space = false;
      }
    }
    make(node, output);
    return true;
  }

  // --- lists ---

  bool make_list(const Node* node) {
    Held list;
    list.is_list = true;
    for (const Value* value : node->inputs()) {
      if (!is_tensor(value) || !is_computed(value)) return false;
      list.items.push_back(held(value).tensor);
    }
    held(node->output()) = std::move(list);
    return true;
  }

  bool append(const Node* node) {
    if (!is_computed(node->input(0)) || !held(node->input(0)).is_list || known(node->input(1)) == nullptr)
      return false;
    held(node->input(0)).items.push_back(held(node->input(1)).tensor);
    if (!node->outputs().empty()) held(node->output()) = {};
    return node->outputs().empty() || node->output()->uses().empty();
  }

  bool unpack(const Node* node) {
    if (!is_computed(node->input(0)) || !held(node->input(0)).is_list) return false;
    const std::vector<ChannelLayout> items = held(node->input(0)).items;
    if (items.size() != node->outputs().size()) return false;
    for (std::size_t i = 0; i < items.size(); ++i) held(node->output(i)).tensor = items[i];
    return true;
  }

  [[nodiscard]] bool feeds_layers_alone(const Node* node) const {
    if (tensor_name(node->input(0)).empty()) return false;
    return std::all_of(node->output()->uses().begin(), node->output()->uses().end(), [&](const auto& use) {
      const auto layer = as_layer(use.user);
      return layer && layer->weight == node->input(0) && use.user->owningBlock() == node->owningBlock();
    });
  }
};

}  // namespace

ChannelGraph make_channel_graph(const StepGraph& graph, std::span<const NamedTensor> tensors) {
  return Follower(graph, tensors).follow();
}

ChannelGraph find_channels(const Network& network) {
  const c10::AutoGradMode no_gradients(false);
  // The same steps again, from the network's description: only names and shapes matter. What is tied or
  // shares memory is known of the network itself.
  const StepGraph graph(load_module(network.save_without_weights(), "the network's description"));
  std::vector<NamedTensor> tensors;
  for (const TensorInfo& info : network.tensors())
    tensors.push_back({info.name, network.tensor(info.name), info.role != TensorRole::buffer, info.tied_to});
  return make_channel_graph(graph, tensors);
}

}  // namespace bitfall
