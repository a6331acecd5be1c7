#pragma once
#include <torch/csrc/jit/ir/ir.h>

namespace bitfall {

/// Modules that keep lists, objects or flags for their next call (torchvision's anchor generators and RoI
/// poolers) get a copy of their own in every run, so that no run sees what another one has left: each is the
/// first run of the loaded file. Numbers and tensors that a forward replaces are not touched: those count or
/// remember. The forward's own warnings go.
void keep_state_in_run(torch::jit::Graph& graph);

}  // namespace bitfall
