#include <ATen/ops/empty.h>

#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "bitfall/network.hpp"
#include "model/tensor_table.hpp"

namespace bitfall {
namespace {

/// Tensors that share a storage go on sharing one. IValue::deepcopy would give each a storage of its own, and
/// takes no undefined tensor, which attention returns for the weights that nobody needs.
class ValueCopier {
 public:
  c10::IValue copy(const c10::IValue& value) {
    if (value.isTensor()) return copy(value.toTensor());
    if (!value.isTuple()) return value.deepcopy();
    std::vector<c10::IValue> elements;
    for (const c10::IValue& element : value.toTupleRef().elements()) elements.push_back(copy(element));
    return c10::ivalue::Tuple::create(std::move(elements));
  }

 private:
  at::Tensor copy(const at::Tensor& tensor) {
    if (!tensor.defined()) return tensor;
    const void* storage = storage_of(tensor);
    if (storage == nullptr) return tensor.clone();
    at::Tensor& bytes = storages_[storage];
    if (!bytes.defined())
      bytes = at::empty({0}, tensor.options().dtype(at::kByte)).set_(tensor.storage()).clone();
    return at::empty({0}, tensor.options())
        .set_(bytes.storage(), tensor.storage_offset(), tensor.sizes(), tensor.strides());
  }

  std::unordered_map<const void*, at::Tensor> storages_;  ///< copies, by the storage that they are of
};

}  // namespace

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
  ValueCopier copier;
  for (std::size_t slot = 0; slot < slots_.size(); ++slot)
    copy.slots_[slot] = slots.contains(slot) ? copier.copy(slots_[slot]) : c10::IValue();
  return copy;
}

}  // namespace bitfall
