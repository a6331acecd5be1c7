#pragma once
/// Which part of a forward's result the logits are.
#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

namespace bitfall {

/// The logits [N, classes] in what a forward has returned: a tuple's first entry, a dictionary's "out" or
/// "logits". Throws DataError for other results, with what was found.
[[nodiscard]] at::Tensor logits_of(const c10::IValue& result);

}  // namespace bitfall
