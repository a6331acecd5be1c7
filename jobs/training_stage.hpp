#pragma once
/// The loop of finetuning: epochs of images through the trainer, with progress, checkpoints and stops.
#include <array>
#include <functional>
#include <string>
#include <vector>

#include "checkpoint.hpp"
#include "inputs.hpp"
#include "src/finetune/trainer.hpp"
#include "stop_request.hpp"

namespace bitfall {

/// Which images a stage sees, how often, and at which rates.
struct StageParameters {
  std::string name;  ///< for people: "finetuning", "layer layer1.0.conv1"
  std::int64_t iterations = 0;
  std::int64_t batch = 128, micro_batch = 32;
  Schedule schedule;
  AugmentationKind augmentation = AugmentationKind::none;
  std::uint64_t stream = 0;  ///< keeps the stages' random choices apart
};

/// When checkpoints are due.
struct CheckpointInterval {
  std::int64_t iterations = 0;  ///< 0: not by iterations
  double minutes = 15;          ///< 0: not by time
};

/// What a job does between two steps; both get the number of iterations done (collective).
struct StageHooks {
  std::function<void(std::int64_t done)> after_step;  ///< may change the space and the networks; may be empty
  std::function<void(std::int64_t done)> save;        ///< a checkpoint is due
};

class TrainingStage {
 public:
  TrainingStage(const ShardSet& shards, Preprocessing preprocessing, StageParameters parameters,
                CheckpointInterval interval, JobContext& context);

  /// Runs iterations [first, iterations) (collective). After every step, `after_step`; then, when a
  /// checkpoint is due or some rank wants to stop, `save`. Returns false when it was stopped.
  bool run(Trainer& trainer, std::int64_t first, const StopRequest* stop, const StageHooks& hooks);

  [[nodiscard]] static std::int64_t iterations_of_epoch(std::int64_t images, std::int64_t batch);

 private:
  [[nodiscard]] std::vector<std::vector<std::int64_t>> local_batches(std::int64_t first,
                                                                     std::int64_t last) const;
  [[nodiscard]] StepReport take_step(Trainer& trainer, std::span<const TrainingBatch> local, double rate,
                                     std::span<std::int64_t> flags, std::int64_t done) const;
  void report(std::int64_t done, const StepReport& step, double data_seconds, double step_seconds,
              double learning_rate);

  const ShardSet& shards_;
  Preprocessing preprocessing_;
  StageParameters parameters_;
  CheckpointInterval interval_;
  JobContext& context_;
  std::int64_t of_epoch_ = 1;  ///< iterations
  GlobalBatch batch_;
  double begin_seconds_ = 0;
  std::int64_t images_done_ = 0;
};

/// The trainer's state as arrays and small values of a checkpoint, and back.
void save_trainer(Trainer& trainer, Checkpoint& checkpoint);
void restore_trainer(Trainer& trainer, const Checkpoint& checkpoint);
/// Whether an array of a checkpoint is the trainer's, not the network's.
[[nodiscard]] bool is_trainer_array(const std::string& name);

}  // namespace bitfall
