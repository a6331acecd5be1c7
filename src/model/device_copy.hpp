#pragma once
/// A network's tensors on the device where its passes run; those of the host stay the ones that count.
#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <cstddef>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "model/step_graph.hpp"
#include "model/tensor_table.hpp"

namespace bitfall {

/// "cpu" or "cuda:N" as LibTorch's device. What it computes there repeats bit for bit from then on: no TF32,
/// no kernels that add in whatever order comes. Throws ClusterError when LibTorch can't use it.
[[nodiscard]] at::Device open_torch_device(const std::string& name);

class DeviceCopy {
 public:
  /// Throws DataError when a step reads parameters inside control flow: it would see those of the host.
  DeviceCopy(at::Device device, const StepGraph& graph, const std::vector<NamedTensor>& named);

  [[nodiscard]] at::Device device() const { return device_; }
  /// What StepGraph::fixed gives, here.
  [[nodiscard]] const c10::IValue* fixed(std::size_t slot) const {
    return fixed_[slot] ? &*fixed_[slot] : nullptr;
  }
  /// The copy of a parameter or buffer (shares storage with what steps read).
  [[nodiscard]] at::Tensor copy_of(const at::Tensor& host) const;

  /// The host's tensor has changed.
  void follow(const at::Tensor& host);
  /// The copy, which somebody is about to write: the host's tensor is old from now on.
  [[nodiscard]] at::Tensor outdate(const at::Tensor& host);
  /// Brings the host's tensor up to date, if it is old.
  void refresh(const at::Tensor& host);

 private:
  at::Device device_;
  std::unordered_map<const void*, at::Tensor> copies_;  ///< by the host's storage: all of it, one-dimensional
  std::unordered_set<const void*> old_;                 ///< the host's storages that are not up to date
  std::vector<std::optional<c10::IValue>> fixed_;       ///< by slot
};

}  // namespace bitfall
