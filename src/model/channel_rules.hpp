#pragma once
/// Which operators leave every channel where it is.
#include <torch/csrc/jit/ir/ir.h>

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace bitfall {

enum class ChannelRule {
  unknown,
  elementwise,  ///< one tensor, value by value
  spatial,      ///< one tensor [N, C, H, W], each channel's plane alone
  arithmetic,   ///< two tensors that are broadcast against each other
  prelu,        ///< one slope, or one for each channel
  reduction,    ///< mean, sum or maximum over some axes
  flatten,
  view,
  cat,
  pad,
  slice,
  list,        ///< prim::ListConstruct, prim::TupleConstruct
  unpack,      ///< prim::ListUnpack, prim::TupleUnpack
  append,      ///< aten::append
  transposed,  ///< aten::t, which old traces put before a linear layer
  shape,       ///< looks at nothing but the tensor's shape or type
};
[[nodiscard]] ChannelRule channel_rule(const torch::jit::Node* node);

/// A constant integer / list of integers.
[[nodiscard]] std::optional<std::int64_t> constant_integer(const torch::jit::Value* value);
[[nodiscard]] std::optional<std::vector<std::int64_t>> constant_integers(const torch::jit::Value* value);
/// -1 -> rank - 1.
[[nodiscard]] inline std::int64_t positive_axis(std::int64_t axis, std::int64_t rank) {
  return axis < 0 ? axis + rank : axis;
}
/// The value is aten::size(tensor, 0), or a spelling of it.
[[nodiscard]] bool is_batch_size(const torch::jit::Value* value, const torch::jit::Value* tensor);

/// The aten::slice is x[:].
[[nodiscard]] bool takes_everything(const torch::jit::Node* slice);

}  // namespace bitfall
