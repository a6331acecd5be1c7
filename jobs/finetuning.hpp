#pragma once
/// Finetuning as jobs use it: the options, the global stage, the stage of one layer.
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bitfall/finetune.hpp"
#include "bitfall/quantized_layer.hpp"
#include "checkpoint.hpp"
#include "reassign.hpp"
#include "training_stage.hpp"

namespace bitfall {

/// Options of `finetune` and `compress`. Defaults are the paper's (section 4.1).
struct FinetuneOptions {
  std::int64_t epochs = 9;            ///< of the global stage
  std::int64_t iterations = 0;        ///< of the global stage; 0: epochs
  std::int64_t layer_iterations = 0;  ///< after each layer
  double learning_rate = 0.01, layer_learning_rate = 0.01;
  std::string schedule = "step";
  std::int64_t step_epochs = 3;
  std::string optimizer = "sgd";
  std::string precision = "fp32";
  double momentum = 0.9, weight_decay = 1e-4;
  double temperature = 1, label_weight = 0;
  DetectionDistillation detection;
  std::int64_t batch = 128, micro_batch = 32;
  std::string bn_statistics = "train";
  std::vector<std::string> train = {"codebooks"};
  std::string augment = "auto";
  std::int64_t reassign_every = 0;
};
void add_finetune_options(CLI::App& job, FinetuneOptions& options);
/// What checkpoints of a run must agree on, by option name.
[[nodiscard]] nlohmann::json to_json(const FinetuneOptions& options);

/// Options of jobs that can be stopped and go on.
struct CheckpointOptions {
  std::string run_file, resume = "auto", time_limit;
  CheckpointInterval interval;
  /// 0 when there is no limit. Throws UsageError for one without a run file.
  [[nodiscard]] double limit_seconds() const;
  /// Throws UsageError when checkpoints would be written over `output`, and then removed with it.
  void require_other_than(const std::string& output) const;
};
void add_checkpoint_options(CLI::App& job, CheckpointOptions& options);

/// Fields of a fingerprint that describe preprocessing.
[[nodiscard]] nlohmann::json to_json(const Preprocessing& preprocessing);

/// What both stages work with; everything outlives them.
struct FinetuneSetting {
  Network& student;
  const Network& teacher;
  const ShardSet& shards;
  const Preprocessing& preprocessing;
  const FinetuneOptions& options;
  const CheckpointOptions& checkpoints;
  ReassignParameters reassign;
  const StopRequest* stop;  ///< nullptr: signals end the job at once
  RunFile& run_file;
  JobContext& context;
};

/// Puts the layers and tensors of a checkpoint of the global stage into the network and `layers`.
void show_checkpoint(const Checkpoint& checkpoint, Network& network, std::vector<QuantizedLayer>& layers,
                     const std::string& source);

/// The global stage: moves all codebooks (and what --train names) of `layers` and the network's batch norms.
/// `resumed`: a checkpoint of this stage that show_checkpoint has shown. Throws Preempted after a checkpoint
/// when a stop was asked for (collective).
void finetune_globally(const FinetuneSetting& setting, std::vector<QuantizedLayer>& layers,
                       const Checkpoint* resumed);
constexpr const char* global_stage = "finetune";

/// The stage of one layer: moves its codebook; batch norms are not trained (paper, section 3.3). `save` fills
/// in the rest of a checkpoint and writes it.
void finetune_layer(const FinetuneSetting& setting, QuantizedLayer& layer, std::size_t index,
                    const Checkpoint* resumed, const std::function<void(Checkpoint&)>& save);

}  // namespace bitfall
