#include "model/device_copy.hpp"

#include <ATen/Context.h>
#include <ATen/ops/empty.h>
#include <c10/core/GradMode.h>

#include <cstdlib>
#include <exception>

#include "bitfall/errors.hpp"
#include "model/error_text.hpp"

namespace bitfall {
namespace {

/// A tensor over all elements of `tensor`'s storage.
at::Tensor whole_storage(const at::Tensor& tensor) {
  const auto elements = static_cast<std::int64_t>(tensor.storage().nbytes() / tensor.itemsize());
  return tensor.detach().as_strided({elements}, {1}, 0);
}

}  // namespace

at::Device open_torch_device(const std::string& name) {
  const at::Device device(name);
  if (!device.is_cuda()) return device;
  // Before cuBLAS makes a handle: with this workspace its sums have one order (cuBLAS, "Results
  // reproducibility").
  setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
  at::Context& context = at::globalContext();
  context.setDeterministicCuDNN(true);
  context.setBenchmarkCuDNN(false);
  context.setAllowTF32CuDNN(false);
  context.setAllowTF32CuBLAS(false);
  context.setDeterministicAlgorithms(true, /*warn_only=*/true);
  context.setDeterministicFillUninitializedMemory(false);
  try {
    static_cast<void>(at::empty({1}, at::TensorOptions().device(device)));
  } catch (const std::exception& error) {
    throw ClusterError("LibTorch can't use the device " + name + ": " + essential_line(error) +
                       "; --device cpu runs without one");
  }
  return device;
}

DeviceCopy::DeviceCopy(at::Device device, const StepGraph& graph, const std::vector<NamedTensor>& named)
    : device_(device), fixed_(graph.slot_count()) {
  const c10::AutoGradMode no_gradients(false);
  for (const NamedTensor& tensor : named) {
    const void* storage = storage_of(tensor.tensor);
    if (storage == nullptr || copies_.contains(storage)) continue;
    copies_.emplace(storage, whole_storage(tensor.tensor).to(device, /*non_blocking=*/false, /*copy=*/true));
  }
  for (const Step& step : graph.steps()) {
    for (const std::size_t slot : step.inputs) {
      const c10::IValue* value = graph.fixed(slot);
      if (value != nullptr && value->isObject())
        throw DataError(
            std::string("a step of the network (") + step.node->kind().toQualString() +
            ") reads parameters inside a branch or a loop, which only the host can do; use --device cpu");
    }
  }
  for (std::size_t slot = 0; slot < fixed_.size(); ++slot) {
    const c10::IValue* value = graph.fixed(slot);
    if (value == nullptr) continue;
    if (value->isTensor() && value->toTensor().defined())
      fixed_[slot] = copies_.contains(storage_of(value->toTensor())) ? copy_of(value->toTensor())
                                                                     : value->toTensor().to(device);
    else if (value->isTensorList() || value->isTuple())
      fixed_[slot] = value->deepcopy(device);
    else
      fixed_[slot] = *value;
  }
}

at::Tensor DeviceCopy::copy_of(const at::Tensor& host) const {
  return copies_.at(storage_of(host)).as_strided(host.sizes(), host.strides(), host.storage_offset());
}

void DeviceCopy::follow(const at::Tensor& host) {
  copy_of(host).copy_(host);
}

at::Tensor DeviceCopy::outdate(const at::Tensor& host) {
  old_.insert(storage_of(host));
  return copy_of(host);
}

void DeviceCopy::refresh(const at::Tensor& host) {
  const void* storage = storage_of(host);
  if (!old_.contains(storage)) return;
  whole_storage(host).copy_(copies_.at(storage));
  old_.erase(storage);
}

}  // namespace bitfall
