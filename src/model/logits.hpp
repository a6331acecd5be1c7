#pragma once
/// Which part of a forward's result the logits are.
#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <string>

namespace bitfall {

/// The logits [N, classes] in what a forward has returned. `part` names an entry of a dictionary, or a field
/// of a tuple by its name or its place from 0. Empty: a tuple's first entry, a dictionary's "out" or
/// "logits". Throws DataError that lists the parts there are.
[[nodiscard]] at::Tensor logits_of(const c10::IValue& result, const std::string& part);

}  // namespace bitfall
