#include <ATen/ops/empty.h>

#include <unordered_map>
#include <unordered_set>

#include "bitfall/network.hpp"
#include "model/tensor_table.hpp"

namespace bitfall {

std::int64_t LiveValues::bytes() const {
  std::unordered_set<const void*> seen;
  std::int64_t bytes = 0;
  const auto count = [&](const c10::IValue& value) {
    if (!value.isTensor() || !value.toTensor().defined()) return false;
    const at::Tensor& tensor = value.toTensor();
    const void* storage = storage_of(tensor);
    const bool own = kept_elsewhere_ != nullptr && kept_elsewhere_->contains(storage);
    if (storage != nullptr && !own && seen.insert(storage).second) {
      bytes += static_cast<std::int64_t>(tensor.storage().nbytes());
    }
    return false;  // go on into lists, tuples and dictionaries
  };
  for (const c10::IValue& value : slots_) value.visit(count);
  return bytes;
}

LiveValues LiveValues::copy_of(const std::unordered_set<std::size_t>& slots) const {
  LiveValues copy = *this;
  std::unordered_map<const void*, at::Tensor> storages;  // copies, by the storage that they are of
  for (std::size_t slot = 0; slot < slots_.size(); ++slot) {
    c10::IValue& value = copy.slots_[slot];
    if (!slots.contains(slot)) {
      value = c10::IValue();
    } else if (const void* storage = value.isTensor() ? storage_of(value.toTensor()) : nullptr) {
      const at::Tensor& tensor = value.toTensor();
      at::Tensor& bytes = storages[storage];
      if (!bytes.defined())
        bytes = at::empty({0}, tensor.options().dtype(at::kByte)).set_(tensor.storage()).clone();
      value = at::empty({0}, tensor.options())
                  .set_(bytes.storage(), tensor.storage_offset(), tensor.sizes(), tensor.strides());
    } else {
      value = value.deepcopy();
    }
  }
  return copy;
}

}  // namespace bitfall
