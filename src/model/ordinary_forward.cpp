#include "model/ordinary_forward.hpp"

#include <c10/core/GradMode.h>
#include <torch/csrc/jit/runtime/graph_executor.h>

#include <cstring>
#include <utility>
#include <vector>

#include "bitfall/errors.hpp"
#include "model/error_text.hpp"
#include "model/image_list.hpp"
#include "model/module_file.hpp"

namespace bitfall {
namespace {

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  if (!a.defined() || !b.defined()) return a.defined() == b.defined();
  if (a.scalar_type() != b.scalar_type() || a.sizes() != b.sizes()) return false;
  const at::Tensor left = a.contiguous(), right = b.contiguous();
  return left.numel() == 0 || std::memcmp(left.const_data_ptr(), right.const_data_ptr(), left.nbytes()) == 0;
}

/// The values that a list, tuple or dictionary holds, keys included.
std::vector<c10::IValue> contents(const c10::IValue& value) {
  if (value.isTuple()) return value.toTupleRef().elements().vec();
  if (value.isList()) return value.toList().vec();
  std::vector<c10::IValue> entries;
  for (const auto& entry : value.toGenericDict()) {
    entries.push_back(entry.key());
    entries.push_back(entry.value());
  }
  return entries;
}

bool is_container(const c10::IValue& value) {
  return value.isTuple() || value.isList() || value.isGenericDict();
}

}  // namespace

c10::IValue ordinary_forward(const std::string& bytes, const std::string& source, const at::Tensor& input,
                             const at::Tensor& before) {
  const c10::AutoGradMode no_gradients(false);
  const torch::jit::GraphOptimizerEnabledGuard as_written(false);  // the second run would be fused otherwise
  torch::jit::Module module = load_module(bytes, source);
  const auto& arguments = module.get_method("forward").function().getSchema().arguments();
  const bool wants_list = arguments.size() > 1 && takes_list(*arguments[1].type());
  const auto run = [&](const at::Tensor& images) {
    const at::Tensor given = images.clone();  // operators may write to their inputs
    return module.forward({wants_list ? c10::IValue(as_list(given)) : c10::IValue(given)});
  };
  try {
    if (before.defined()) static_cast<void>(run(before));
    return run(input);
  } catch (const std::exception& error) {
    throw DataError("'" + source + "': its forward fails: " + essential_line(error));
  }
}

bool same_bits(const c10::IValue& a, const c10::IValue& b) {
  if (a.isTensor() && b.isTensor()) return same_bits(a.toTensor(), b.toTensor());
  if (!is_container(a) || !is_container(b)) return a.tagKind() == b.tagKind() && (a.isNone() || a == b);
  if (a.tagKind() != b.tagKind()) return false;
  const std::vector<c10::IValue> left = contents(a), right = contents(b);
  if (left.size() != right.size()) return false;
  for (std::size_t i = 0; i < left.size(); ++i)
    if (!same_bits(left[i], right[i])) return false;
  return true;
}

}  // namespace bitfall
