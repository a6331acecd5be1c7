#pragma once
/// Detectors take a list of images where other networks take a batch.
#include <ATen/core/List.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/jit_type.h>

namespace bitfall {

/// Whether a forward whose argument has this type takes a list of tensors.
[[nodiscard]] bool takes_list(const c10::Type& type);
/// A batch as the list of its images.
[[nodiscard]] c10::List<at::Tensor> as_list(const at::Tensor& batch);

}  // namespace bitfall
