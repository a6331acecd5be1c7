#include "compress_options.hpp"

#include "bitfall/codebook.hpp"
#include "bitfall/errors.hpp"
#include "chosen_device.hpp"

namespace bitfall {
namespace {

void add_finetuning(CLI::App& job, CompressOptions& options) {
  options.finetune.epochs = 0;  // on request only
  add_finetune_options(job, options.finetune);
  job.add_option(
         "--finetune-layer", options.finetune.layer_iterations,
         "iterations of finetuning of each layer's codebook right after it is quantized (paper: 2500)")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  job.add_option("--layer-learning-rate", options.finetune.layer_learning_rate, "of --finetune-layer")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  add_checkpoint_options(job, options.checkpoints);
}

}  // namespace

void add_options(CLI::App& job, CompressOptions& options) {
  job.add_option("model", options.model, "TorchScript file (torch.jit.script(model).save)")->required();
  add_data_options(job, options.data);
  job.add_option("-o,--output", options.output, "the archive to write (not needed with --dry-run)");
  job.add_option("--calibration-images", options.calibration_images,
                 "images that statistics come from; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  add_plan_options(job, options.plan);
  add_size_options(job, options.target);
  add_permute_options(job, options.permute);
  add_cluster_options(job, options.compression.cluster);
  add_device_option(job, options.compression.cluster.device, "networks and k-means run");
  job.add_option("--gram-rows", options.compression.moments.gram_rows,
                 "with --metric full: unfolded input rows that statistics come from; 0: all, -1: 16 a column")
      ->check(CLI::Range(std::int64_t{-1}, std::int64_t{1} << 40))
      ->capture_default_str();
  job.add_flag(
      "--match-teacher,!--own-outputs", options.compression.moments.match_teacher,
      "with --metric full: aim at the outputs of the uncompressed network, so that layers make up for "
      "the errors before them (recipe best), or at those of the layer's own weight");
  job.add_flag(
      "--mend-shortcuts,!--leave-shortcuts", options.compression.moments.mend_shortcuts,
      "with --match-teacher: the last layer of a residual block also makes up for the error of what its "
      "output is added to (recipe best)");
  job.add_flag("--output-weights,!--equal-outputs", options.output_weights,
               "rows count by the second moment of the loss gradient at their output (one backward pass over "
               "the calibration images)");
  job.add_option("--target-iterations", options.compression.cluster.target_iterations, "of --match-teacher")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  job.add_flag("--bn-reestimate", options.compression.bn_reestimate,
               "recompute batch-norm statistics on the calibration images (worth tens of points)");
  job.add_option("--bn-order", options.bn,
                 "with --bn-reestimate: along the walk, or in a second one at the end")
      ->check(CLI::IsMember({"walk", "end"}))
      ->capture_default_str();
  add_no_model_option(job, options.no_embedded_model);
  job.add_option("--kept", options.kept, "how unquantized tensors are stored: exact, fp16 or folded")
      ->check(CLI::IsMember({"exact", "fp16", "folded"}))
      ->capture_default_str();
  add_finetuning(job, options);
  options.recipe.add_option(job);
}

void CompressOptions::require_compatible() const {
  const bool priced = target.is_set() || plan.parameters.rate > 0;
  if (priced && output_weights)
    throw UsageError("--output-weights does not work with --rate, --target-size or --target-ratio");
  if (target.is_set() && (permute.permute || finetune.reassign_every > 0))
    throw UsageError("--permute and --reassign-every do not work with --target-size or --target-ratio");
}

nlohmann::json CompressOptions::fingerprint() const {
  nlohmann::json fields = to_json(finetune);
  fields.update({{"permute", permute.permute ? permute.proposals : -1},
                 {"calibration-images", calibration_images},
                 {"micro-batch", data.micro_batch},
                 {"iterations", compression.cluster.iterations},
                 {"anneal", compression.cluster.anneal},
                 {"restarts", compression.cluster.restarts},
                 {"sweeps", compression.cluster.sweeps},
                 {"damping", compression.cluster.damping},
                 {"match-teacher", compression.moments.match_teacher},
                 {"mend-shortcuts", compression.moments.mend_shortcuts},
                 {"output-weights", output_weights},
                 {"target-iterations", compression.cluster.target_iterations},
                 {"gram-rows", compression.moments.gram_rows},
                 {"codebook", to_string(compression.cluster.codebook_type.value_or(CodebookType::fp16))},
                 {"bn-reestimate", compression.bn_reestimate},
                 {"bn-order", bn}});
  return fields;
}

}  // namespace bitfall
