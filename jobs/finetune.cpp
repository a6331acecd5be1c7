// bitfall finetune: moves an archive's codebooks towards the teacher's outputs.
#include <cstdio>
#include <optional>

#include "bitfall/archive.hpp"
#include "bitfall/calibration.hpp"
#include "bitfall/errors.hpp"
#include "chosen_device.hpp"
#include "codebook_option.hpp"
#include "finetuning.hpp"
#include "inputs.hpp"
#include "kept.hpp"
#include "output_path.hpp"
#include "permute.hpp"
#include "provenance.hpp"
#include "recipe.hpp"
#include "reestimate.hpp"
#include "src/parallel/memory.hpp"

namespace bitfall {

namespace {

struct FinetuneJobOptions {
  std::string archive, teacher, output, model, device = "auto";
  bool no_embedded_model = false;
  DataOptions data;
  FinetuneOptions finetune;
  CheckpointOptions checkpoints;
  bool bn_reestimate = false;
  Recipe recipe;
  std::int64_t calibration_images = 1024;
  std::string kept = "exact";
  std::optional<CodebookType> codebook;
};

class FinetuneJob {
 public:
  FinetuneJob(const FinetuneJobOptions& options, JobContext& context)
      : options_(options),
        context_(context),
        student_(load_network(options.archive, context.communicator, options.model, options.data.logits)),
        teacher_(load_network(options.teacher, context.communicator, "", options.data.logits)),
        preprocessing_(preprocessing_from_name(options.data.preprocess)) {
    if (!student_.archive) {
      throw DataError(options.archive + " is not an archive; make one with 'bitfall compress' first");
    }
    layers_ = student_.archive->layers;
    if (options.codebook) {
      convert_codebooks(layers_, *options.codebook);
      for (const QuantizedLayer& layer : layers_)
        student_.network.set_tensor(layer.weight_name, decode(layer));
    }
  }

  void run() {
    const ClaimedOutput claim = claim_output(options_.output, context_.communicator);
    device_ = chosen_device(options_.device, context_);
    options_.checkpoints.require_other_than(options_.output);
    const ClaimedOutput claimed_run = claim_run_file(options_.checkpoints.run_file, context_.communicator);
    const double limit_seconds = options_.checkpoints.limit_seconds();
    const ShardSet shards = open_shards(options_.data, context_);
    RunFile run_file(options_.checkpoints.run_file, fingerprint(shards), context_);
    const std::optional<Checkpoint> resumed = run_file.load(options_.checkpoints.resume);
    std::optional<StopRequest> stop;
    if (run_file.exists()) stop.emplace(limit_seconds);
    if (resumed) show_checkpoint(*resumed, student_.network, layers_, run_file.path());
    run_networks_on(*device_, {&student_.network, &teacher_.network}, context_);
    const FinetuneSetting setting{.student = student_.network,
                                  .teacher = teacher_.network,
                                  .shards = shards,
                                  .preprocessing = preprocessing_,
                                  .options = options_.finetune,
                                  .checkpoints = options_.checkpoints,
                                  .reassign = reassign_parameters(),
                                  .stop = stop ? &*stop : nullptr,
                                  .run_file = run_file,
                                  .context = context_};
    {
      const StageTimer timer(seconds_["finetune"]);
      finetune_globally(setting, layers_, resumed ? &*resumed : nullptr);
    }
    if (options_.bn_reestimate) {
      const StageTimer timer(seconds_["batch_norm"]);
      const bool folded = has_folded_norms(teacher_.network);
      if (folded) {  // channel by channel
        if (const auto found = repeat_permutation(*student_.archive, teacher_.network, context_))
          permute_channels(teacher_.network, found->graph, found->orders);
      }
      reestimate_all_batch_norms(student_.network, folded ? &teacher_.network : nullptr, shards,
                                 preprocessing_, options_.calibration_images, options_.data.micro_batch,
                                 context_);
    }
    write(shards);
    run_file.remove();
  }

 private:
  /// Layers of the metric full aim at the teacher, which is at hand here.
  [[nodiscard]] ReassignParameters reassign_parameters() const {
    ReassignParameters parameters;
    parameters.every = options_.finetune.reassign_every;
    parameters.calibration_images = options_.calibration_images;
    parameters.micro_batch = options_.data.micro_batch;
    parameters.moments.match_teacher = true;
    parameters.moments.mend_shortcuts = true;
    return parameters;
  }

  [[nodiscard]] nlohmann::json fingerprint(const ShardSet& shards) const {
    nlohmann::json fields = to_json(options_.finetune);
    fields.update({{"job", "finetune"},
                   {"archive", student_.archive->content_sha256},
                   {"teacher", teacher_.file_sha256},
                   {"data", shards.fingerprint()},
                   {"calibration-images", options_.calibration_images},
                   {"preprocess", to_json(preprocessing_)},
                   {"codebook", options_.codebook ? to_string(*options_.codebook) : "as it is"},
                   {"device", device_->backend().name()},
                   {"seed", context_.options.seed}});
    return fields;
  }

  void write(const ShardSet& shards) {
    Archive& archive = *student_.archive;
    ArchiveBytes bytes;
    const std::string provenance = provenance_json(context_, options_.archive, shards.fingerprint());
    context_.communicator.guarded("writing the archive " + options_.output, [&] {
      if (!context_.communicator.is_root()) return;
      const StageTimer timer(seconds_["write"]);
      archive.kept = collect_kept(student_.network, layers_, kept_precision_from_string(options_.kept));
      archive.layers = layers_;
      if (options_.no_embedded_model)
        archive.model.clear();
      else if (!options_.model.empty())
        archive.model = student_.network.save_without_weights();
      archive.provenance_json = provenance;
      bytes = write_archive(archive, options_.output);
    });
    const nlohmann::json fields = {
        {"archive", options_.output}, {"content_sha256", archive.content_sha256},
        {"bytes", bytes.file},        {"layers", layers_.size()},
        {"seconds", seconds_},        {"peak_memory_bytes", context_.communicator.max(peak_rss_bytes())}};
    char text[200];
    std::snprintf(text, sizeof text, ": %.3f MiB, sha256 %.16s", double(bytes.file) / (1 << 20),
                  archive.content_sha256.c_str());
    context_.reporter.result(fields, options_.output + text);
  }

  const FinetuneJobOptions& options_;
  JobContext& context_;
  std::unique_ptr<ComputeDevice> device_;
  LoadedNetwork student_, teacher_;
  Preprocessing preprocessing_;
  std::vector<QuantizedLayer> layers_;
  std::map<std::string, double> seconds_;
};

}  // namespace

JobEntry register_finetune(CLI::App& app, CommonOptions& common) {
  auto options = std::make_shared<FinetuneJobOptions>();
  CLI::App* job = app.add_subcommand("finetune", "move an archive's codebooks towards its teacher's outputs");
  job->add_option("archive", options->archive, "archive that 'bitfall compress' made")->required();
  add_data_options(*job, options->data);
  job->add_option("--teacher", options->teacher, "TorchScript of the uncompressed network")->required();
  job->add_option("-o,--output", options->output, "the archive to write")->required();
  add_model_option(*job, options->model);
  add_no_model_option(*job, options->no_embedded_model);
  add_finetune_options(*job, options->finetune);
  job->add_flag("--bn-reestimate", options->bn_reestimate, "recompute batch-norm statistics at the end");
  job->add_option("--calibration-images", options->calibration_images, "images for --bn-reestimate; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  job->add_option("--kept", options->kept, "how unquantized tensors are stored: exact, fp16 or folded")
      ->check(CLI::IsMember({"exact", "fp16", "folded"}))
      ->capture_default_str();
  add_codebook_option(*job, options->codebook, "default: as the archive has them");
  add_checkpoint_options(*job, options->checkpoints);
  add_device_option(*job, options->device, "networks run");
  options->recipe.add_option(*job);
  add_common_options(*job, common);
  return {job, [options](JobContext& context) {
            options->recipe.choose_rates(options->finetune);
            FinetuneJob(*options, context).run();
          }};
}

}  // namespace bitfall
