#pragma once
/// The parameters and buffers of a TorchScript module, in the order of its state dict.
#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <string>
#include <unordered_map>
#include <vector>

#include "bitfall/layer.hpp"

namespace bitfall {

/// A module's tensor under its qualified name.
struct NamedTensor {
  std::string name;
  at::Tensor tensor;  ///< shares storage with the module
  bool is_parameter = false;
  std::string tied_to = {};  ///< the first name of the same tensor object, else empty
};

/// What tensors that share memory have in common; nullptr for one without.
[[nodiscard]] inline const void* storage_of(const at::Tensor& tensor) {
  return tensor.has_storage() ? tensor.storage().unsafeGetStorageImpl() : nullptr;
}

/// All tensor attributes in state-dict order: a module's own parameters, its own buffers, then its
/// sub-modules. As in Python, every tensor attribute that is no parameter counts as a buffer.
[[nodiscard]] std::vector<NamedTensor> named_tensors(const c10::ivalue::Object& module);

/// "float32", "int64", ... as numpy and safetensors users know them. Throws DataError for types that can't
/// be stored (quantized, complex), naming the tensor.
[[nodiscard]] std::string dtype_name(const NamedTensor& tensor);

}  // namespace bitfall
