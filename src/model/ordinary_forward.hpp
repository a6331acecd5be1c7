#pragma once
/// What LibTorch's own forward gives: what running steps is compared with.
#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <string>

namespace bitfall {

/// Loads the TorchScript anew and runs its forward in eval mode, without gradients, on `input` or, where it
/// takes a list, on the list of its images. With `before` it runs on that first: who remembers it gives other
/// bits. Throws DataError naming `source`.
[[nodiscard]] c10::IValue ordinary_forward(const std::string& bytes, const std::string& source,
                                           const at::Tensor& input, const at::Tensor& before = {});

/// The same structure of lists, tuples and dictionaries, and in it tensors of the same type, shape and bits.
[[nodiscard]] bool same_bits(const c10::IValue& a, const c10::IValue& b);

}  // namespace bitfall
