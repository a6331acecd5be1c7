#pragma once
/// How well a network classifies, and how close it is to its teacher.
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "bitfall/communicator.hpp"

namespace bitfall {

/// Totals over images. Counts and fixed-point sums: adding them is exact, so every number of ranks and
/// threads gives the same result.
class Evaluation {
 public:
  /// Adds a micro-batch. `logits` is [N, classes]; `teacher_logits` likewise, or undefined. Throws DataError
  /// when a label is outside the classes (the caller names the image).
  void add(const at::Tensor& logits, std::span<const std::int64_t> labels, const at::Tensor& teacher_logits);
  void add(const Evaluation& other);
  /// Sums over ranks (collective).
  void reduce(const Communicator& communicator);

  [[nodiscard]] std::int64_t images() const { return images_; }
  [[nodiscard]] double top1() const { return percent(top1_); }  ///< in percent, as all the following
  [[nodiscard]] double top5() const { return percent(top5_); }
  [[nodiscard]] double agreement() const { return percent(agree_); }     ///< same class as the teacher
  [[nodiscard]] double loss() const { return mean(loss_); }              ///< cross-entropy, nats
  [[nodiscard]] double divergence() const { return mean(divergence_); }  ///< KL(teacher || network), nats

 private:
  [[nodiscard]] double percent(std::int64_t count) const {
    return images_ == 0 ? 0 : 100.0 * double(count) / double(images_);
  }
  [[nodiscard]] double mean(std::int64_t sum) const;

  std::int64_t images_ = 0, top1_ = 0, top5_ = 0, agree_ = 0;
  std::int64_t loss_ = 0, divergence_ = 0;  ///< in units of 2^-24 nats
};

}  // namespace bitfall
