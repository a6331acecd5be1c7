#include <filesystem>
#include <system_error>

#include "bitfall/errors.hpp"
#include "finetuning.hpp"

namespace bitfall {

namespace {

void add_stages(CLI::App& job, FinetuneOptions& options) {
  job.add_option("--finetune-epochs", options.epochs, "passes over the images with all codebooks moving")
      ->check(CLI::Range(0, 100000))
      ->capture_default_str();
  job.add_option("--finetune-iterations", options.iterations, "instead: this many batches; 0: by epochs")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  job.add_option("--batch-size", options.batch, "images of one update, over all ranks")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  job.add_option("--train-micro-batch", options.micro_batch,
                 "images that go forward and backward together; batch norms see these")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  job.add_option("--augment", options.augment, "of training images: auto, none, resized-crop or shifted-crop")
      ->check(CLI::IsMember({"auto", "none", "resized-crop", "shifted-crop"}))
      ->capture_default_str();
  job.add_option("--bn-statistics", options.bn_statistics,
                 "in the global stage: train (of each micro-batch, as the paper) or frozen")
      ->check(CLI::IsMember({"train", "frozen"}))
      ->capture_default_str();
  job.add_option(
         "--reassign-every", options.reassign_every,
         "in the global stage: after every so many iterations give layers new codes, where that lowers "
         "their error on the calibration images; 0: codes stay")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  job.add_option("--train", options.train, "what moves: codebooks, bn, bias, first (layers left alone)")
      ->delimiter(',')
      ->take_all()
      ->check(CLI::IsMember({"codebooks", "bn", "bias", "first"}))
      ->capture_default_str();
}

void add_rates(CLI::App& job, FinetuneOptions& options) {
  job.add_option("--learning-rate", options.learning_rate, "of the first iteration")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  job.add_option("--schedule", options.schedule, "of the learning rate: constant, step or cosine")
      ->check(CLI::IsMember({"constant", "step", "cosine"}))
      ->capture_default_str();
  job.add_option("--step-epochs", options.step_epochs, "with step: a tenth after every so many epochs")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  job.add_option("--optimizer", options.optimizer, "sgd or adam")
      ->check(CLI::IsMember({"sgd", "adam"}))
      ->capture_default_str();
  job.add_option("--precision", options.precision,
                 "fp32, or bf16 where LibTorch's autocast uses it (fast only on processors that have it)")
      ->check(CLI::IsMember({"fp32", "bf16"}))
      ->capture_default_str();
  job.add_option("--momentum", options.momentum, "of SGD; beta1 of Adam")
      ->check(CLI::Range(0.0, 0.9999))
      ->capture_default_str();
  job.add_option("--weight-decay", options.weight_decay, "of everything that moves")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  job.add_option("--temperature", options.temperature, "of the distillation")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  job.add_option("--teacher-score", options.detection.teacher_score,
                 "of a detector: the teacher's detections with at least this score are the truth")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  job.add_option("--feature-weight", options.detection.feature_weight,
                 "of a detector: of the distance between the backbones' features, beside its losses")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  job.add_option("--label-weight", options.label_weight, "of the labels' cross-entropy beside distillation")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
}

}  // namespace

void add_finetune_options(CLI::App& job, FinetuneOptions& options) {
  add_stages(job, options);
  add_rates(job, options);
}

nlohmann::json to_json(const FinetuneOptions& options) {
  return {{"finetune-epochs", options.epochs},
          {"finetune-iterations", options.iterations},
          {"finetune-layer", options.layer_iterations},
          {"learning-rate", options.learning_rate},
          {"layer-learning-rate", options.layer_learning_rate},
          {"schedule", options.schedule},
          {"step-epochs", options.step_epochs},
          {"optimizer", options.optimizer},
          {"precision", options.precision},
          {"momentum", options.momentum},
          {"weight-decay", options.weight_decay},
          {"temperature", options.temperature},
          {"label-weight", options.label_weight},
          {"teacher-score", options.detection.teacher_score},
          {"feature-weight", options.detection.feature_weight},
          {"batch-size", options.batch},
          {"train-micro-batch", options.micro_batch},
          {"bn-statistics", options.bn_statistics},
          {"train", options.train},
          {"augment", options.augment},
          {"reassign-every", options.reassign_every}};
}

void add_checkpoint_options(CLI::App& job, CheckpointOptions& options) {
  job.add_option(
      "--run-file", options.run_file,
      "checkpoints go here (and to FILE.previous); with it SIGTERM and SIGUSR2 stop the job with exit "
      "code 75, to go on later on any number of ranks");
  job.add_option("--resume", options.resume,
                 "auto (the newest valid checkpoint, if any), no, or a checkpoint")
      ->capture_default_str();
  job.add_option("--checkpoint-every", options.interval.iterations,
                 "iterations between checkpoints; 0: by time")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  job.add_option("--checkpoint-minutes", options.interval.minutes,
                 "minutes between checkpoints; 0: never by time")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  job.add_option("--time-limit", options.time_limit,
                 "stop with a checkpoint and exit code 75 after 90s, 15m, 2h, HH:MM:SS or D-HH:MM:SS");
}

double CheckpointOptions::limit_seconds() const {
  if (time_limit.empty()) return 0;
  if (run_file.empty())
    throw UsageError("--time-limit needs --run-file: there would be nothing to go on from");
  return parse_duration_seconds(time_limit);
}

void CheckpointOptions::require_other_than(const std::string& output) const {
  const auto place = [](const std::string& path) {
    std::error_code ignored;  // what can't be resolved is no file yet
    return std::filesystem::weakly_canonical(std::filesystem::absolute(path), ignored);
  };
  if (run_file.empty() || output.empty() || place(run_file) != place(output)) return;
  throw UsageError("--run-file and --output are the same file, '" + output +
                   "': the checkpoints need one of their own");
}

nlohmann::json to_json(const Preprocessing& preprocessing) {
  return {{"resize", preprocessing.resize},
          {"crop", preprocessing.crop},
          {"channels", preprocessing.channels},
          {"mean", preprocessing.mean},
          {"std", preprocessing.std}};
}

}  // namespace bitfall
