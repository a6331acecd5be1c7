#pragma once
#include <span>

#include "bitfall/channels.hpp"
#include "model/step_graph.hpp"
#include "model/tensor_table.hpp"

namespace bitfall {

/// Follows channels from step to step: convolutions and linear layers make them and read them, batch norms,
/// activations, pools and sums pass them on, a cat puts them side by side. Whatever is not understood fixes
/// the order of every channel that it touches, and so do the network's input and output. Streams that meet
/// in a sum are one (the parents and children of Martinez et al., "Permute, Quantize, and Fine-tune", CVPR
/// 2021, section 3.2).
/// `tensors`: those of the module that the graph was made from.
[[nodiscard]] ChannelGraph make_channel_graph(const StepGraph& graph, std::span<const NamedTensor> tensors);

}  // namespace bitfall
