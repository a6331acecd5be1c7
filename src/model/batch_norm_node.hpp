#pragma once
#include <torch/csrc/jit/ir/ir.h>

#include <functional>
#include <optional>
#include <string>

#include "bitfall/network.hpp"

namespace bitfall {

/// The node as a batch norm with fixed statistics, or nothing. `name_of` gives the qualified name of the
/// parameter or buffer that a value is, or "".
[[nodiscard]] std::optional<BatchNormStep> as_batch_norm(
    const torch::jit::Node* node, const std::function<std::string(const torch::jit::Value*)>& name_of);

}  // namespace bitfall
