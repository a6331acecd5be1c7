#include "finetune/distillation.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/kl_div.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <string>

#include "bitfall/errors.hpp"

namespace bitfall {

at::Tensor distillation_loss(const at::Tensor& student, const at::Tensor& teacher,
                             std::span<const std::int64_t> labels, const Distillation& parameters,
                             std::int64_t images) {
  if (student.sizes() != teacher.sizes()) {
    throw DataError("the network gives " + std::to_string(student.size(1)) + " classes for " +
                    std::to_string(student.size(0)) + " images, the teacher " +
                    std::to_string(teacher.size(1)) + " for " + std::to_string(teacher.size(0)) +
                    ": is it the teacher of this network?");
  }
  const double t = parameters.temperature;
  // sum_i KL(p_i || q_i) T^2 / images, p = softmax(teacher / T), q = softmax(student / T)
  // (Hinton, Vinyals and Dean 2015: T^2 keeps gradients comparable)
  at::Tensor loss = at::kl_div(at::log_softmax(student / t, 1), at::log_softmax(teacher / t, 1),
                               at::Reduction::Sum, /*log_target=*/true) *
                    (t * t / static_cast<double>(images));
  if (parameters.label_weight > 0) {
    for (const std::int64_t label : labels) {
      if (label < 0 || label >= student.size(1)) {
        throw DataError("label " + std::to_string(label) + " is outside the network's " +
                        std::to_string(student.size(1)) + " classes");
      }
    }
    const at::Tensor target =
        at::tensor(at::ArrayRef<std::int64_t>(labels.data(), labels.size())).to(student.device());
    loss = loss + at::cross_entropy_loss(student, target, {}, at::Reduction::Sum) *
                      (parameters.label_weight / static_cast<double>(images));
  }
  return loss;
}

}  // namespace bitfall
