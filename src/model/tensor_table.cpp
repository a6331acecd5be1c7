#include "model/tensor_table.hpp"

#include <ATen/core/class_type.h>

#include <array>
#include <utility>

#include "bitfall/errors.hpp"

namespace bitfall {
namespace {

struct Collector {
  std::vector<NamedTensor> tensors = {};
  std::unordered_map<const c10::TensorImpl*, std::string> first_names = {};

  void add(const std::string& name, const at::Tensor& tensor, bool is_parameter) {
    const auto [first, is_new] = first_names.emplace(tensor.unsafeGetTensorImpl(), name);
    tensors.push_back({name, tensor, is_parameter, is_new ? std::string() : first->second});
  }

  void add_own(const c10::ivalue::Object& module, const std::string& prefix, bool parameters) {
    const auto type = module.type();
    for (std::size_t slot = 0; slot < type->numAttributes(); ++slot) {
      const c10::IValue& value = module.getSlot(slot);
      if (!value.isTensor() || !value.toTensor().defined()) continue;
      if (type->is_parameter(slot) != parameters) continue;
      add(prefix + type->getAttributeName(slot), value.toTensor(), parameters);
    }
  }

  void add_module(const c10::ivalue::Object& module, const std::string& prefix) {
    add_own(module, prefix, true);
    add_own(module, prefix, false);
    const auto type = module.type();
    for (std::size_t slot = 0; slot < type->numAttributes(); ++slot) {
      const c10::IValue& value = module.getSlot(slot);
      if (!value.isObject() || !value.toObjectRef().type()->is_module()) continue;
      add_module(value.toObjectRef(), prefix + type->getAttributeName(slot) + ".");
    }
  }
};

}  // namespace

std::vector<NamedTensor> named_tensors(const c10::ivalue::Object& module) {
  Collector collector;
  collector.add_module(module, "");
  return std::move(collector.tensors);
}

std::string dtype_name(const NamedTensor& tensor) {
  static constexpr std::array<std::pair<at::ScalarType, const char*>, 10> names = {
      {{at::kFloat, "float32"},
       {at::kHalf, "float16"},
       {at::kBFloat16, "bfloat16"},
       {at::kDouble, "float64"},
       {at::kLong, "int64"},
       {at::kInt, "int32"},
       {at::kShort, "int16"},
       {at::kChar, "int8"},
       {at::kByte, "uint8"},
       {at::kBool, "bool"}}};
  for (const auto& [type, name] : names) {
    if (tensor.tensor.scalar_type() == type) return name;
  }
  throw DataError("tensor '" + tensor.name + "' has the element type " +
                  c10::toString(tensor.tensor.scalar_type()) + ", which bitfall can't store");
}

}  // namespace bitfall
