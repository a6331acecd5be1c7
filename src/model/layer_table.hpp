#pragma once
/// What the steps of a graph compute: layers and batch norms, and what each tensor is for.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "bitfall/layer.hpp"
#include "bitfall/network.hpp"
#include "model/step_graph.hpp"
#include "model/tensor_table.hpp"

namespace bitfall {

/// norm(layer(x)) + shortcut, the shortcut being there before the layer runs.
struct ShortcutSum {
  std::size_t slot;                 ///< of the shortcut
  std::optional<std::size_t> norm;  ///< index into LayerTable::norms
};

/// What one step computes.
struct StepMeaning {
  std::optional<std::size_t> layer;     ///< index into LayerTable::layers
  std::optional<std::size_t> norm;      ///< index into LayerTable::norms
  std::optional<std::size_t> input;     ///< slot of the tensor that the layer or batch norm reads
  std::optional<ShortcutSum> sum;       ///< of a layer: what its output is added to
  std::optional<std::size_t> bias;      ///< of Network::is_plain_convolution: slot of its bias, or of None
  std::vector<std::size_t> first_uses;  ///< layers that no step before this one uses
  /// Of layers that run inside the step, in a loop or a branch: place in the graph, layer.
  std::vector<std::pair<std::int64_t, std::size_t>> observed;
};

struct LayerTable {
  std::vector<Layer> layers;         ///< in the order of their first use
  std::vector<BatchNormStep> norms;  ///< one for each batch norm that is a step of its own
  std::vector<StepMeaning> steps;
  std::vector<TensorInfo> tensors;  ///< state-dict order
};

/// `tensors`: those of the module that the graph was made from.
[[nodiscard]] LayerTable make_layer_table(const StepGraph& graph, std::span<const NamedTensor> tensors);

}  // namespace bitfall
