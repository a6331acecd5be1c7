#pragma once
/// Self-distillation of a detector: what the teacher detects is what the student's own losses ask for.
#include <ATen/core/Tensor.h>
#include <torch/csrc/jit/api/module.h>

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "bitfall/finetune.hpp"
#include "bitfall/network.hpp"

namespace bitfall {

/// loss = the student's losses in training mode, summed, for the teacher's detections with at least
/// `teacher_score` as the truth
///      + feature_weight mean_l |F_l(student) - F_l(teacher)|^2 / |F_l(teacher)|^2 over the levels of the
///        backbone's features.
/// Batch norms stay as in eval mode. The modules are run as a whole, not step by step: training branches off
/// in many places of a detector's forward.
class DetectionPass {
 public:
  /// `names`: what gradients are wanted of. The student's module shares its tensors, so that it always runs
  /// with the current ones. Throws DataError for networks that lack training losses as torchvision's have.
  DetectionPass(const Network& student, const Network& teacher, const std::vector<std::string>& names,
                const DetectionDistillation& parameters);

  struct Result {
    double loss = 0;                    ///< of these images, a mean
    std::vector<at::Tensor> gradients;  ///< of that loss times `weight`, in the order of the names
    double teacher_seconds = 0, forward_seconds = 0, backward_seconds = 0;
  };
  /// `images` [N, 3, height, width]. Detectors draw which proposals they learn from: `key` decides how. One
  /// at a time, because LibTorch has one generator for all threads; others wait. Single-threaded operators.
  [[nodiscard]] Result run(const at::Tensor& images, double weight, std::uint64_t key) const;

 private:
  mutable torch::jit::Module student_, teacher_;
  std::vector<at::Tensor> leaves_;
  DetectionDistillation parameters_;
  mutable std::mutex mutex_;
};

}  // namespace bitfall
