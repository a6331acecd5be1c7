#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "bitfall/finetune.hpp"

namespace bitfall {

/// The sum of the loss over a micro-batch, divided by `images`, the number of images of the whole batch: so
/// micro-batches add up to the batch's mean. `student` and `teacher` are logits [N, classes]. Throws
/// DataError when they differ in shape or a label that is used is outside the classes.
[[nodiscard]] at::Tensor distillation_loss(const at::Tensor& student, const at::Tensor& teacher,
                                           std::span<const std::int64_t> labels,
                                           const Distillation& parameters, std::int64_t images);

}  // namespace bitfall
