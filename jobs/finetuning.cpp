#include "finetuning.hpp"

#include <algorithm>

#include "bitfall/errors.hpp"
#include "kept.hpp"

namespace bitfall {

namespace {

bool wants(const FinetuneOptions& options, const std::string& what) {
  return std::find(options.train.begin(), options.train.end(), what) != options.train.end();
}

bool is_quantized(const std::vector<QuantizedLayer>& layers, const std::string& weight) {
  return std::any_of(layers.begin(), layers.end(),
                     [&](const QuantizedLayer& layer) { return layer.weight_name == weight; });
}

/// Everything that the global stage moves.
TrainedSpace make_space(const Network& network, const std::vector<QuantizedLayer>& layers,
                        const FinetuneOptions& options, const ArrayWork* arrays) {
  TrainedSpace space(arrays);
  if (wants(options, "codebooks"))
    for (const QuantizedLayer& layer : layers) space.add_codebook(layer);
  for (const TensorInfo& tensor : network.tensors()) {
    if (tensor.dtype != "float32" || !tensor.tied_to.empty() || is_quantized(layers, tensor.name)) continue;
    const bool norm =
        tensor.role == TensorRole::batch_norm_scale || tensor.role == TensorRole::batch_norm_shift;
    if ((norm && wants(options, "bn")) || (tensor.role == TensorRole::bias && wants(options, "bias")) ||
        (tensor.role == TensorRole::weight && wants(options, "first")))
      space.add_tensor(network, tensor.name);
  }
  if (space.values().empty()) throw UsageError("--train leaves nothing to move");
  return space;
}

TrainerParameters trainer_parameters(const FinetuneSetting& setting, bool train_batch_norms) {
  const FinetuneOptions& options = setting.options;
  TrainerParameters parameters;
  parameters.distillation = {options.temperature, options.label_weight};
  parameters.detection = options.detection;
  parameters.optimizer.kind = optimizer_from_string(options.optimizer);
  parameters.optimizer.momentum = options.momentum;
  parameters.optimizer.weight_decay = options.weight_decay;
  parameters.train_batch_norms = train_batch_norms;
  parameters.precision = precision_from_string(options.precision);
  parameters.threads = setting.context.threads;
  return parameters;
}

StageParameters stage_parameters(const FinetuneSetting& setting) {
  const FinetuneOptions& options = setting.options;
  StageParameters stage;
  stage.batch = options.batch;
  stage.micro_batch = options.micro_batch;
  stage.augmentation = augmentation_from_name(options.augment, setting.preprocessing);
  stage.schedule.learning_rate = options.learning_rate;
  return stage;
}

[[noreturn]] void stop_here(const FinetuneSetting& setting, const std::string& where) {
  throw Preempted("stopped " + where + ", with a checkpoint in " + setting.run_file.path() +
                  "; run the same command again to go on");
}

}  // namespace

void show_checkpoint(const Checkpoint& checkpoint, Network& network, std::vector<QuantizedLayer>& layers,
                     const std::string& source) {
  layers = checkpoint.layers;
  for (const QuantizedLayer& layer : layers) network.set_tensor(layer.weight_name, decode(layer));
  std::vector<KeptTensor> kept;
  for (const KeptTensor& tensor : checkpoint.tensors)
    if (!is_trainer_array(tensor.name)) kept.push_back(tensor);
  apply_kept(network, kept, source);
}

void finetune_globally(const FinetuneSetting& setting, std::vector<QuantizedLayer>& layers,
                       const Checkpoint* resumed) {
  const FinetuneOptions& options = setting.options;
  const std::int64_t epoch = TrainingStage::iterations_of_epoch(
      static_cast<std::int64_t>(setting.shards.samples().size()), options.batch);
  StageParameters parameters = stage_parameters(setting);
  parameters.name = global_stage;
  parameters.iterations = options.iterations > 0 ? options.iterations : options.epochs * epoch;
  parameters.schedule.kind = schedule_from_string(options.schedule);
  parameters.schedule.step_iterations = options.step_epochs * epoch;
  parameters.schedule.iterations = parameters.iterations;
  TrainingStage stage(setting.shards, setting.preprocessing, parameters, setting.checkpoints.interval,
                      setting.context);
  // A detector's batches are too small for statistics of their own.
  const bool trains_norms = options.bn_statistics == "train" && !setting.student.returns_detections();
  Trainer trainer(setting.student, setting.teacher,
                  make_space(setting.student, layers, options, setting.context.arrays),
                  trainer_parameters(setting, trains_norms));
  std::int64_t first = 0;
  if (resumed != nullptr) {
    restore_trainer(trainer, *resumed);
    first = number_in(*resumed, "iteration");
  }
  std::int64_t done = first;
  const StageHooks hooks{
      .after_step =
          [&](std::int64_t iteration) {
            if (setting.reassign.every > 0 && iteration % setting.reassign.every == 0)
              reassign_all(setting.student, setting.teacher, setting.shards, setting.preprocessing,
                           setting.reassign, layers, trainer.space(), setting.context);
          },
      .save =
          [&](std::int64_t iteration) {
            done = iteration;
            Checkpoint checkpoint{
                global_stage, {{"iteration", iteration}}, layers, collect_kept(setting.student, layers)};
            save_trainer(trainer, checkpoint);
            setting.run_file.save(checkpoint);
          }};
  const bool finished = stage.run(trainer, first, setting.stop, hooks);
  if (!finished) {
    stop_here(setting, "after " + std::to_string(done) + " of " + std::to_string(parameters.iterations) +
                           " finetuning iterations");
  }
  trainer.space().round_codebooks(layers);
  trainer.show();
  setting.context.reporter.event("finetuned", {{"iterations", parameters.iterations},
                                               {"trained_values", trainer.space().values().size()},
                                               {"exchanged_bytes", trainer.sums().bytes()},
                                               {"exchanges_repeated", trainer.sums().repeats()}});
}

void finetune_layer(const FinetuneSetting& setting, QuantizedLayer& layer, std::size_t index,
                    const Checkpoint* resumed, const std::function<void(Checkpoint&)>& save) {
  StageParameters parameters = stage_parameters(setting);
  parameters.name = "layer " + layer.name;
  parameters.iterations = setting.options.layer_iterations;
  parameters.schedule.learning_rate = setting.options.layer_learning_rate;
  parameters.stream = index + 1;  // 0 is the global stage's
  TrainingStage stage(setting.shards, setting.preprocessing, parameters, setting.checkpoints.interval,
                      setting.context);
  TrainedSpace space(setting.context.arrays);
  space.add_codebook(layer);
  Trainer trainer(setting.student, setting.teacher, std::move(space), trainer_parameters(setting, false));
  std::int64_t first = 0;
  if (resumed != nullptr) {
    restore_trainer(trainer, *resumed);
    first = number_in(*resumed, "iteration");
  }
  const StageHooks hooks{.after_step = {}, .save = [&](std::int64_t iteration) {
                           Checkpoint checkpoint;
                           checkpoint.progress["iteration"] = iteration;
                           save_trainer(trainer, checkpoint);
                           save(checkpoint);
                         }};
  const bool finished = stage.run(trainer, first, setting.stop, hooks);
  if (!finished) stop_here(setting, "while finetuning layer " + layer.name);
  trainer.space().round_codebooks(std::span(&layer, 1));
  trainer.show();
}

}  // namespace bitfall
