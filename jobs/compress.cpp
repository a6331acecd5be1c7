// bitfall compress: network + images -> archive.
#include <cstdio>
#include <filesystem>

#include "bitfall/archive.hpp"
#include "bitfall/errors.hpp"
#include "bitfall/images.hpp"
#include "chosen_device.hpp"
#include "compress_options.hpp"
#include "compress_search.hpp"
#include "kept.hpp"
#include "memory_plan.hpp"
#include "output_path.hpp"
#include "output_weights.hpp"
#include "provenance.hpp"
#include "reestimate.hpp"

#include "src/parallel/memory.hpp"

namespace bitfall {

namespace {

std::vector<std::int64_t> calibration_samples(const CompressOptions& options, const ShardSet& shards,
                                              const JobContext& context) {
  return choose_samples(static_cast<std::int64_t>(shards.samples().size()), options.calibration_images,
                        context.options.seed);
}

/// One compression, stage by stage.
class CompressJob {
 public:
  CompressJob(CompressOptions& options, JobContext& context)
      : options_(options),
        context_(context),
        loaded_(load_network(options.model, context.communicator, "", options.data.logits)),
        preprocessing_(preprocessing_from_name(options.data.preprocess)) {
    if (loaded_.archive) {
      throw DataError(options.model +
                      " is an archive already; give the TorchScript of the uncompressed network");
    }
    plan_ = make_plan(loaded_.network, options.plan, context.options.overrides);
    walks_with_teacher_ = options.compression.moments.match_teacher ||
                          (options.compression.bn_reestimate && has_folded_norms(loaded_.network));
  }

  void run() {
    if (options_.target.is_set()) target_bytes_ = options_.target.bytes(plan_.sizes);  // before any work
    options_.require_compatible();
    if (context_.options.dry_run) {
      if (options_.target.is_set()) search(open_shards(options_.data, context_));
      return print_plan();
    }
    if (options_.output.empty()) throw UsageError("-o/--output is required: where the archive goes");
    const ClaimedOutput claim = claim_output(options_.output, context_.communicator);
    device_ = chosen_device(options_.compression.cluster.device, context_);
    options_.checkpoints.require_other_than(options_.output);
    const ClaimedOutput claimed_run = claim_run_file(options_.checkpoints.run_file, context_.communicator);
    const double limit_seconds = options_.checkpoints.limit_seconds();
    const ShardSet shards = open_shards(options_.data, context_);
    samples_ = calibration_samples(options_, shards, context_);
    micro_batches_ = cut_micro_batches(samples_, options_.data.micro_batch);
    input_shape_ = largest_input(shards, preprocessing_, samples_, context_.communicator);
    MemoryPlan memory = memory_of_walk(static_cast<std::int64_t>(samples_.size()));
    run_networks_on(*device_, {&loaded_.network}, context_);
    if (options_.target.is_set()) search(shards);
    add_quantizer(memory, plan_, options_.compression.moments.match_teacher, context_.communicator);
    context_.reporter.event("plan",
                            {{"plan", nlohmann::json::parse(to_json(plan_))}, {"memory", to_json(memory)}});
    context_.reporter.info("plan: " + std::to_string(plan_.quantized_layers()) + " of " +
                           std::to_string(plan_.layers.size()) + " layers, " +
                           std::to_string(samples_.size()) + " images, " + describe(memory));
    RunFile run_file(options_.checkpoints.run_file, fingerprint(shards), context_);
    const std::optional<Checkpoint> resumed = run_file.load(options_.checkpoints.resume);
    std::optional<StopRequest> stop;
    if (run_file.exists()) stop.emplace(limit_seconds);
    std::optional<Network> teacher;
    if (options_.finetunes() || walks_with_teacher_)
      teacher.emplace(load_network(options_.model, context_.communicator, "", options_.data.logits).network);
    if (options_.permute.permute) permute(teacher);
    if (teacher) run_networks_on(*device_, {&*teacher}, context_);
    const FinetuneSetting setting{.student = loaded_.network,
                                  .teacher = teacher ? *teacher : loaded_.network,
                                  .shards = shards,
                                  .preprocessing = preprocessing_,
                                  .options = options_.finetune,
                                  .checkpoints = options_.checkpoints,
                                  .reassign = reassign_parameters(),
                                  .stop = stop ? &*stop : nullptr,
                                  .run_file = run_file,
                                  .context = context_};
    const bool in_global_stage = resumed && resumed->stage == global_stage;
    if (in_global_stage)
      show_checkpoint(*resumed, loaded_.network, layers_, run_file.path());
    else
      compress(setting, resumed ? &*resumed : nullptr);
    settle_plan(plan_, layers_, budget_.has_value(), loaded_.network.tensors());
    if (options_.finetunes_globally()) finetune(setting, in_global_stage ? &*resumed : nullptr);
    write(shards);
    run_file.remove();
  }

 private:
  /// Finds the plan that fits the target, on the inputs of the unquantized network.
  void search(const ShardSet& shards) {
    samples_ = calibration_samples(options_, shards, context_);
    micro_batches_ = cut_micro_batches(samples_, options_.data.micro_batch);
    const std::string provenance = provenance_json(context_, options_.model, shards.fingerprint());
    auto images = inputs(shards);
    const StageTimer timer(seconds_["search"]);
    if (device_) options_.compression.cluster.backend = &device_->backend();
    const CompressSearch searching{options_.compression, options_.target, target_bytes_, context_};
    FoundPlan found =
        searching.run(loaded_.network, plan_, std::move(images), [&](std::vector<QuantizedLayer> layers) {
          Network network =
              load_network(options_.model, context_.communicator).network;  // folding changes it
          Plan plan = plan_;
          settle_plan(plan, layers, true, network.tensors());
          return file_bytes(make_archive(network, std::move(layers), plan_json(plan), provenance));
        });
    budget_.emplace(std::move(found.budget));
    apply(*budget_, plan_);
    if (context_.options.dry_run) settle_plan(plan_, found.layers, true, loaded_.network.tensors());
  }

  /// Of the host, which is where the trial for it runs.
  MemoryPlan memory_of_walk(std::int64_t images) {
    MemoryPlan memory = plan_memory(loaded_.network, input_shape_, images, options_.data.micro_batch,
                                    context_.threads, context_.communicator);
    if (walks_with_teacher_) add_teacher(memory);
    return memory;
  }

  /// Both networks, so that their channels still correspond.
  void permute(std::optional<Network>& teacher) {
    const StageTimer timer(seconds_["permute"]);
    const NetworkPermutation found = find_network_permutation(
        loaded_.network, permutable_layers(plan_), options_.permute, context_.options.seed, context_);
    const std::vector<std::int64_t> image(input_shape_.begin(), input_shape_.end());
    if (!permute_network(loaded_.network, found, image, context_)) return;
    if (teacher) permute_channels(*teacher, found.graph, found.orders);
    permutation_ = found.description;
  }

  [[nodiscard]] std::string plan_json(const Plan& plan) const {
    const std::string& logits = loaded_.network.logits_part();
    if (permutation_.is_null() && logits.empty()) return to_json(plan);
    auto json = nlohmann::ordered_json::parse(to_json(plan));
    if (!permutation_.is_null()) json["permutation"] = permutation_;
    if (!logits.empty()) json["logits"] = logits;  // what restores the network reads it
    return json.dump();
  }

  void print_plan() {
    input_shape_ = {preprocessing_.channels, preprocessing_.crop, preprocessing_.crop};
    if (preprocessing_.crop == 0) {  // only the images know
      const ShardSet shards = open_shards(options_.data, context_);
      const auto samples = calibration_samples(options_, shards, context_);
      input_shape_ = largest_input(shards, preprocessing_, samples, context_.communicator);
    }
    MemoryPlan memory = memory_of_walk(options_.calibration_images);
    add_quantizer(memory, plan_, options_.compression.moments.match_teacher, context_.communicator);
    nlohmann::json fields = {{"plan", nlohmann::json::parse(to_json(plan_))}, {"memory", to_json(memory)}};
    std::string text = to_table(plan_) + "\n";
    if (options_.permute.permute) {
      const ChannelGraph graph = find_channels(loaded_.network);
      fields["channels"] = channels_json(graph);
      text += channels_text(graph);
    }
    context_.reporter.result(fields, text + describe(memory));
  }

  std::vector<at::Tensor> inputs(const ShardSet& shards) {
    const StageTimer timer(seconds_["images"]);
    return load_inputs(shards, preprocessing_, local_micro_batches(micro_batches_, context_.communicator),
                       context_.threads, context_);
  }

  /// Everything that decides what comes out.
  [[nodiscard]] nlohmann::json fingerprint(const ShardSet& shards) const {
    nlohmann::json fields = options_.fingerprint();
    fields.update({{"job", "compress"},
                   {"model", loaded_.file_sha256},
                   {"data", shards.fingerprint()},
                   {"preprocess", to_json(preprocessing_)},
                   {"plan", nlohmann::json::parse(to_json(plan_))},
                   {"seed", context_.options.seed},
                   {"device", device_->backend().name()},
                   {"target-bytes", target_bytes_}});
    return fields;
  }

  [[nodiscard]] ReassignParameters reassign_parameters() const {
    ReassignParameters parameters;
    parameters.every = options_.finetune.reassign_every;
    parameters.calibration_images = options_.calibration_images;
    parameters.micro_batch = options_.data.micro_batch;
    parameters.moments = options_.compression.moments;
    parameters.cluster = options_.compression.cluster;
    return parameters;
  }

  [[nodiscard]] const Network* teacher_of_the_walk(const FinetuneSetting& setting) const {
    return walks_with_teacher_ ? &setting.teacher : nullptr;
  }

  void finetune(const FinetuneSetting& setting, const Checkpoint* resumed) {
    {
      const StageTimer timer(seconds_["finetune"]);
      finetune_globally(setting, layers_, resumed);
    }
    if (options_.compression.bn_reestimate) reestimate_at_the_end(setting);
  }

  /// Finetunes a layer that was just quantized and notes it in a checkpoint.
  void finish_layer(const FinetuneSetting& setting, const Checkpoint* resumed, QuantizedLayer& layer,
                    std::size_t index, bool adopted) {
    const bool in_training =
        adopted && resumed->progress.contains("training") && resumed->progress.at("training") == layer.name;
    const auto save = [&](Checkpoint& checkpoint) {
      checkpoint.stage = "layers";
      checkpoint.layers = finished_;
      checkpoint.layers.push_back(layer);
      setting.run_file.save(checkpoint);
    };
    if ((!adopted || in_training) && options_.finetune.layer_iterations > 0) {
      const StageTimer timer(seconds_["finetune"]);
      finetune_layer(setting, layer, index, in_training ? resumed : nullptr, [&](Checkpoint& checkpoint) {
        checkpoint.progress["training"] = layer.name;
        save(checkpoint);
      });
    }
    if (!adopted || in_training) {
      Checkpoint checkpoint;
      checkpoint.progress = {{"layer", layer.name}};
      save(checkpoint);
    }
    finished_.push_back(layer);
    const std::int64_t asked = setting.stop != nullptr && setting.stop->here() ? 1 : 0;
    if (setting.stop != nullptr && context_.communicator.max(asked) > 0) {
      throw Preempted("stopped after layer " + layer.name + ", with a checkpoint in " +
                      setting.run_file.path() + "; run the same command again to go on");
    }
  }

  void compress(const FinetuneSetting& setting, const Checkpoint* resumed) {
    const ShardSet& shards = setting.shards;
    auto& parameters = options_.compression;
    parameters.bn_along_the_walk = options_.bn == "walk";
    parameters.cluster.backend = &device_->backend();
    const WalkParameters walking{.threads = context_.threads, .teacher = teacher_of_the_walk(setting)};
    parameters.moments.image_names =
        image_names(shards, local_micro_batches(micro_batches_, context_.communicator));
    auto images = inputs(shards);
    if (options_.output_weights) {
      const StageTimer timer(seconds_["output_weights"]);
      const auto mine = context_.communicator.share(static_cast<std::int64_t>(micro_batches_.size()));
      parameters.moments.row_weights =
          measure_output_weights(loaded_.network, images, mine.first * options_.data.micro_batch, context_);
    }
    Compression compression(loaded_.network, plan_, parameters, context_,
                            [&](QuantizedLayer& layer, std::size_t index, bool adopted) {
                              finish_layer(setting, resumed, layer, index, adopted);
                            });
    if (resumed != nullptr) compression.adopt(resumed->layers);
    if (budget_) compression.keep_within(&*budget_);
    {
      const StageTimer timer(seconds_["walk"]);
      walk(
          loaded_.network, std::move(images), walking, context_.communicator,
          [&](const WalkStep& step) { compression.before_step(step); }, &statistics_);
    }
    layers_ = compression.take_layers();
    seconds_.merge(compression.seconds());
    for (const char* stage : {"gram", "kmeans", "batch_norm", "finetune"})
      seconds_["walk"] -= seconds_[stage];
    if (parameters.bn_reestimate && !parameters.bn_along_the_walk) reestimate_at_the_end(setting);
  }

  void reestimate_at_the_end(const FinetuneSetting& setting) {
    const StageTimer timer(seconds_["batch_norm"]);
    reestimate_all_batch_norms(loaded_.network, teacher_of_the_walk(setting), setting.shards, preprocessing_,
                               options_.calibration_images, options_.data.micro_batch, context_);
  }

  /// Folds the batch norms of the network where --kept says so.
  [[nodiscard]] Archive make_archive(Network& network, std::vector<QuantizedLayer> layers,
                                     const std::string& plan, const std::string& provenance) const {
    Archive archive;
    archive.kept = collect_kept(network, layers, kept_precision_from_string(options_.kept));
    archive.layers = std::move(layers);
    archive.plan_json = plan;
    if (!options_.no_embedded_model) archive.model = network.save_without_weights();
    archive.provenance_json = provenance;
    return archive;
  }

  void write(const ShardSet& shards) {
    Archive archive;
    ArchiveBytes bytes;
    const std::string provenance = provenance_json(context_, options_.model, shards.fingerprint());
    context_.communicator.guarded("writing the archive " + options_.output, [&] {
      if (!context_.communicator.is_root()) return;
      const StageTimer timer(seconds_["write"]);
      archive = make_archive(loaded_.network, std::move(layers_), plan_json(plan_), provenance);
      bytes = write_archive(archive, options_.output);
    });
    report(archive, bytes);
  }

  void report(const Archive& archive, const ArchiveBytes& bytes) {
    const auto peaks = context_.communicator.all_gather(std::span<const std::int64_t>(
        std::array<std::int64_t, 2>{peak_rss_bytes(), statistics_.peak_frontier_bytes}));
    std::int64_t peak = 0;
    for (std::size_t i = 0; i < peaks.size(); i += 2) peak = std::max(peak, peaks[i]);
    const double ratio = double(plan_.sizes.original_bytes) / double(bytes.file);
    const nlohmann::json fields = {{"archive", options_.output},
                                   {"content_sha256", archive.content_sha256},
                                   {"bytes", bytes.file},
                                   {"bytes_by_part",
                                    {{"codes", bytes.codes},
                                     {"codebooks", bytes.codebooks},
                                     {"kept", bytes.kept},
                                     {"model", bytes.model},
                                     {"provenance", bytes.provenance},
                                     {"overhead", bytes.overhead}}},
                                   {"original_bytes", plan_.sizes.original_bytes},
                                   {"information_bytes", plan_.sizes.information_bytes()},
                                   {"coded_bytes", coded_bytes(archive.layers)},
                                   {"ratio", ratio},
                                   {"information_ratio", plan_.sizes.ratio()},
                                   {"layers", archive.layers.size()},
                                   {"images", samples_.size()},
                                   {"seconds", seconds_},
                                   {"peak_memory_bytes", peak}};
    char text[256];
    std::snprintf(text, sizeof text,
                  "%s: %.3f MiB (%.1f times smaller; information %.3f MiB, %.1f times), sha256 %.16s",
                  options_.output.c_str(), double(bytes.file) / (1 << 20), ratio,
                  double(plan_.sizes.information_bytes()) / (1 << 20), plan_.sizes.ratio(),
                  archive.content_sha256.c_str());
    context_.reporter.result(fields, text);
  }

  CompressOptions& options_;
  JobContext& context_;
  std::unique_ptr<ComputeDevice> device_;
  LoadedNetwork loaded_;
  Preprocessing preprocessing_;
  Plan plan_;
  std::int64_t target_bytes_ = 0;
  std::optional<SizeBudget> budget_;  ///< with a target
  nlohmann::json permutation_;        ///< null: channels are where they were
  bool walks_with_teacher_ = false;   ///< the unquantized network beside the student, for statistics
  std::vector<std::int64_t> samples_;
  std::array<std::int64_t, 3> input_shape_ = {};  ///< of the largest one: channels, height, width
  std::vector<std::vector<std::int64_t>> micro_batches_;
  std::vector<QuantizedLayer> layers_;
  std::vector<QuantizedLayer> finished_;  ///< so far in the walk, for checkpoints
  WalkStatistics statistics_;
  std::map<std::string, double> seconds_;
};

}  // namespace

JobEntry register_compress(CLI::App& app, CommonOptions& common) {
  auto options = std::make_shared<CompressOptions>();
  CLI::App* job =
      app.add_subcommand("compress", "quantize a network layer by layer on the images' statistics");
  add_options(*job, *options);
  job->add_flag("--dry-run", common.dry_run, "print the plan (layers, d, k, bytes, memory) and stop");
  add_common_options(*job, common);
  return {job, [options](JobContext& context) {
            options->recipe.choose_metric(options->plan, options->compression);
            options->recipe.choose_rates(options->finetune);
            CompressJob(*options, context).run();
          }};
}

}  // namespace bitfall
