#pragma once
/// What the steps of a graph compute: layers and batch norms.
#include <optional>
#include <vector>

#include "bitfall/layer.hpp"
#include "bitfall/network.hpp"
#include "model/step_graph.hpp"

namespace bitfall {

struct LayerTable {
  std::vector<Layer> layers;                                ///< in the order of their first use
  std::vector<std::optional<std::size_t>> layer_of_step;    ///< by step
  std::vector<std::optional<BatchNormStep>> norm_of_step;   ///< by step
};
[[nodiscard]] LayerTable make_layer_table(const StepGraph& graph);

/// Parameters and buffers in state-dict order, with their roles.
[[nodiscard]] std::vector<TensorInfo> list_tensors(const torch::jit::Module& module, const LayerTable& table);

}  // namespace bitfall
