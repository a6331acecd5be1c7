#include "model/module_file.hpp"

#include <ATen/ops/isfinite.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <caffe2/serialize/inline_container.h>
#include <caffe2/serialize/read_adapter_interface.h>
#include <torch/csrc/jit/serialization/export.h>
#include <torch/csrc/jit/serialization/import.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>
#include <unordered_map>

#include "bitfall/errors.hpp"
#include "model/detection_operators.hpp"
#include "model/error_text.hpp"
#include "model/tensor_table.hpp"
#include "model/zip_check.hpp"

namespace bitfall {
namespace {

using ObjectPointer = c10::intrusive_ptr<c10::ivalue::Object>;

/// Reads from memory that outlives it. LibTorch's own MemoryReadAdapter checks no range.
class BoundedReader final : public caffe2::serialize::ReadAdapterInterface {
 public:
  explicit BoundedReader(const std::string& bytes) : bytes_(bytes) {}
  [[nodiscard]] std::size_t size() const override { return bytes_.size(); }
  std::size_t read(std::uint64_t position, void* buffer, std::size_t n, const char* /*what*/) const override {
    if (position >= bytes_.size()) return 0;
    const std::size_t count = std::min<std::size_t>(n, bytes_.size() - position);
    std::memcpy(buffer, bytes_.data() + position, count);
    return count;
  }

 private:
  const std::string& bytes_;
};

[[noreturn]] void throw_not_torchscript(const std::string& source, const std::string& why) {
  throw DataError("'" + source + "' is not a TorchScript network: " + why +
                  "; make one with torch.jit.script(model).save(FILE)");
}

void check_finite(const NamedTensor& named, const std::string& source) {
  const at::Tensor& tensor = named.tensor;
  if (!at::isFloatingType(tensor.scalar_type()) || at::isfinite(tensor).all().item<bool>()) return;
  throw DataError("'" + source + "': the " + (named.is_parameter ? "parameter" : "buffer") + " '" +
                  named.name + "' has a NaN or infinite value");
}

/// Gives a tensor whose elements overlap in memory (strides 0) storage of its own, in place.
void materialise(const at::Tensor& tensor) {
  if (tensor.numel() > 1 && !tensor.is_non_overlapping_and_dense()) tensor.set_data(tensor.contiguous());
}

/// A copy of the module's tree of objects in which `replace` stands for each tensor attribute. Modules and
/// tensors that occur twice still do. Types are shared with the original: no name of the code changes.
class TreeCopy {
 public:
  ObjectPointer copy(const ObjectPointer& object) {
    const auto known = objects_.find(object.get());
    if (known != objects_.end()) return known->second;
    const auto type = object->type();
    const std::size_t slots = type->numAttributes();
    auto result = c10::ivalue::Object::create(c10::StrongTypePtr(object->compilation_unit(), type), slots);
    objects_.emplace(object.get(), result);
    for (std::size_t slot = 0; slot < slots; ++slot) result->setSlot(slot, copy(object->getSlot(slot)));
    return result;
  }

 private:
  c10::IValue copy(const c10::IValue& value) {
    if (value.isTensor() && value.toTensor().defined()) return weightless(value.toTensor());
    if (value.isObject() && value.toObjectRef().type()->is_module()) return copy(value.toObject());
    return value;
  }

  at::Tensor weightless(const at::Tensor& tensor) {
    at::Tensor& zero = tensors_[tensor.unsafeGetTensorImpl()];
    if (!zero.defined()) {
      zero = at::zeros({}, tensor.options()).expand(tensor.sizes()).requires_grad_(tensor.requires_grad());
    }
    return zero;
  }

  std::unordered_map<const c10::ivalue::Object*, ObjectPointer> objects_;
  std::unordered_map<const c10::TensorImpl*, at::Tensor> tensors_;
};

/// The same zip without debug records and with nothing compressed, entry by entry.
std::string without_debug_records(const std::string& bytes) {
  caffe2::serialize::PyTorchStreamReader reader(std::make_shared<BoundedReader>(bytes));
  std::string result;
  caffe2::serialize::PyTorchStreamWriter writer([&](const void* data, std::size_t size) {
    result.append(static_cast<const char*>(data), size);
    return size;
  });
  writer.setMinVersion(reader.version());
  for (const std::string& name : reader.getAllRecords()) {
    // The writer adds these two itself.
    if (name == "version" || name == ".data/serialization_id" || name.ends_with(".debug_pkl")) continue;
    const auto [data, size] = reader.getRecord(name);
    writer.writeRecord(name, data.get(), size, /*compress=*/false);
  }
  writer.writeEndOfFile();
  return result;
}

}  // namespace

torch::jit::Module load_module(const std::string& bytes, const std::string& source) {
  const c10::AutoGradMode no_gradients(false);
  if (const std::string damage = zip_damage(std::as_bytes(std::span(bytes))); !damage.empty())
    throw_not_torchscript(source, damage);
  provide_detection_operators();
  torch::jit::Module module;
  try {
    module = torch::jit::load(std::make_shared<BoundedReader>(bytes), c10::Device(c10::kCPU));
    module.eval();
  } catch (const std::exception& error) {
    throw_not_torchscript(source, essential_line(error));
  }
  if (!module.find_method("forward")) throw_not_torchscript(source, "it has no forward method");
  for (const NamedTensor& named : named_tensors(*module._ivalue())) {
    materialise(named.tensor);
    check_finite(named, source);
  }
  return module;
}

std::string save_module(const torch::jit::Module& module) {
  std::string bytes;
  torch::jit::ExportModule(module, [&](const void* data, std::size_t size) {
    bytes.append(static_cast<const char*>(data), size);
    return size;
  });
  return bytes;
}

std::string save_module_without_weights(const torch::jit::Module& module) {
  const c10::AutoGradMode no_gradients(false);
  return without_debug_records(save_module(torch::jit::Module(TreeCopy().copy(module._ivalue()))));
}

}  // namespace bitfall
