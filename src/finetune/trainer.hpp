#pragma once
/// One step of distillation on all ranks: the same bits on any number of them.
///
/// The batch is a fixed list of micro-batches. Each rank runs its share, every micro-batch on one thread;
/// gradients in codebook space, batch-norm statistics and the loss are added exactly (carried_sum.hpp).
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "bitfall/communicator.hpp"
#include "bitfall/finetune.hpp"
#include "bitfall/network.hpp"
#include "finetune/detection_pass.hpp"
#include "finetune/optimizer.hpp"
#include "finetune/trained_space.hpp"
#include "parallel/carried_sum.hpp"

namespace bitfall {

struct TrainingBatch {
  at::Tensor images;  ///< [N, C, H, W]
  std::vector<std::int64_t> labels;
  std::uint64_t key = 0;  ///< decides what a detector draws
};

struct TrainerParameters {
  Distillation distillation;
  DetectionDistillation detection;  ///< instead, where the student is a detector
  OptimizerParameters optimizer;
  /// Batch norms normalise by their micro-batch and move their running statistics (paper: in global
  /// finetuning only).
  bool train_batch_norms = false;
  double batch_norm_momentum = 0.1;  ///< PyTorch's default
  Precision precision = Precision::fp32;
  int threads = 1;
};

/// The batch of which every rank has a share.
struct GlobalBatch {
  std::int64_t images = 0, micro_batches = 0;
};

struct StepReport {
  double loss = 0;  ///< mean over the batch
  std::int64_t top1 = 0, agreement = 0, images = 0;
  bool classifies = true;  ///< else the student is a detector, and the first two of these counts mean nothing
  /// Of this rank; the first three are means over its threads. On a device, which works behind the host's
  /// back, `backward` is what is left of the pass when all of it has been asked for.
  struct Seconds {
    double teacher = 0, forward = 0, backward = 0, exchange = 0, update = 0;
  } seconds;
};

class Trainer {
 public:
  /// `student` is changed in place by every step. Both networks must outlive the trainer.
  Trainer(Network& student, const Network& teacher, TrainedSpace space, TrainerParameters parameters);

  /// One update from this rank's micro-batches (collective). `flags` travel along and are summed over ranks
  /// in place, for whatever the caller wants all ranks to agree on. Throws DataError on every rank when the
  /// loss is not finite or the networks don't fit together.
  StepReport step(std::span<const TrainingBatch> local, const GlobalBatch& batch, double learning_rate,
                  std::span<std::int64_t> flags, const Communicator& communicator);

  [[nodiscard]] TrainedSpace& space() { return space_; }
  /// Writes the space into the student, after it was changed from outside.
  void show() { space_.write(student_); }
  [[nodiscard]] Optimizer& optimizer() { return optimizer_; }
  [[nodiscard]] CarriedSum& sums() { return sums_; }

 private:
  struct Outcome;
  void run(const TrainingBatch& batch, std::int64_t images, Outcome& outcome) const;
  void run_detector(const TrainingBatch& batch, std::int64_t images, Outcome& outcome) const;
  void update_statistics(std::span<const double> moments, std::span<const std::int64_t> values);

  Network& student_;
  const Network& teacher_;
  TrainedSpace space_;
  TrainerParameters parameters_;
  GradientRequest request_;
  std::unique_ptr<const DetectionPass> detection_;  ///< of detectors
  std::vector<std::int64_t> norms_;                 ///< steps of the batch norms that are trained
  std::vector<std::int64_t> channels_;              ///< of each of them
  Optimizer optimizer_;
  CarriedSum sums_;
};

}  // namespace bitfall
