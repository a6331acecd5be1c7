// bitfall compress: network + images -> archive.
#include <cstdio>
#include <filesystem>

#include "bitfall/archive.hpp"
#include "bitfall/errors.hpp"
#include "bitfall/images.hpp"
#include "compression.hpp"
#include "inputs.hpp"
#include "kept.hpp"
#include "memory_plan.hpp"
#include "output_path.hpp"
#include "provenance.hpp"

#include "src/parallel/memory.hpp"

namespace bitfall {

namespace {

struct CompressOptions {
  std::string model, output;
  DataOptions data;
  std::int64_t calibration_images = 1024;
  std::string regime = "small";
  std::string metric = "activation";
  std::string kept = "exact";
  PlanParameters plan;
  CompressionParameters compression;
  std::string bn = "walk";
};

void add_options(CLI::App& job, CompressOptions& options) {
  job.add_option("model", options.model, "TorchScript file (torch.jit.script(model).save)")->required();
  add_data_options(job, options.data);
  job.add_option("-o,--output", options.output, "the archive to write (not needed with --dry-run)");
  job.add_option("--calibration-images", options.calibration_images,
                 "images that statistics come from; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  job.add_option("--regime", options.regime, "block sizes of the paper")
      ->check(CLI::IsMember({"small", "large"}))
      ->capture_default_str();
  job.add_option("--preset", options.plan.preset, "rules for the classifier and 1x1 layers")
      ->check(CLI::IsMember({"auto", "resnet18", "resnet50"}))
      ->capture_default_str();
  job.add_option("--metric", options.metric, "how errors are weighed")
      ->check(CLI::IsMember({"euclidean", "activation"}))
      ->capture_default_str();
  job.add_option("--k", options.plan.k, "codewords of a convolution, lowered where a layer is small")
      ->check(CLI::Range(2, 65536))
      ->capture_default_str();
  job.add_option("--k-linear", options.plan.k_linear, "codewords of a linear layer (default: the preset's)")
      ->check(CLI::Range(2, 65536));
  job.add_option("--iterations", options.compression.iterations, "k-means iterations at most")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  job.add_flag("--bn-reestimate", options.compression.bn_reestimate,
               "recompute batch-norm statistics on the calibration images (worth tens of points)");
  job.add_option("--bn-order", options.bn,
                 "with --bn-reestimate: along the walk, or in a second one at the end")
      ->check(CLI::IsMember({"walk", "end"}))
      ->capture_default_str();
  job.add_option("--kept", options.kept, "how unquantized tensors are stored: exact, fp16 or folded")
      ->check(CLI::IsMember({"exact", "fp16", "folded"}))
      ->capture_default_str();
}

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
        loaded_(load_network(options.model, context.communicator)),
        preprocessing_(preprocessing_from_name(options.data.preprocess)) {
    if (loaded_.archive) {
      throw DataError(options.model +
                      " is an archive already; give the TorchScript of the uncompressed network");
    }
    options.plan.regime = options.regime == "small" ? Regime::small : Regime::large;
    options.plan.metric = metric_from_string(options.metric);
    options.plan.overrides = context.options.overrides;
    plan_ = make_plan(loaded_.network.layers(), loaded_.network.tensors(), options.plan);
  }

  void run() {
    if (context_.options.dry_run) return print_plan();
    if (options_.output.empty()) throw UsageError("-o/--output is required: where the archive goes");
    require_writable(options_.output, context_.communicator);
    const ShardSet shards = open_shards(options_.data.shards, context_);
    samples_ = calibration_samples(options_, shards, context_);
    micro_batches_ = cut_micro_batches(samples_, options_.data.micro_batch);
    const MemoryPlan memory = plan_for(static_cast<std::int64_t>(samples_.size()));
    context_.reporter.event("plan",
                            {{"plan", nlohmann::json::parse(to_json(plan_))}, {"memory", to_json(memory)}});
    context_.reporter.info("plan: " + std::to_string(plan_.quantized_layers()) + " of " +
                           std::to_string(plan_.layers.size()) + " layers, " +
                           std::to_string(samples_.size()) + " images, " + describe(memory));
    compress(shards);
    write(shards);
  }

 private:
  MemoryPlan plan_for(std::int64_t images) {
    return plan_memory(loaded_.network, preprocessing_, images, options_.data.micro_batch, context_.threads,
                       context_.communicator);
  }

  void print_plan() {
    const MemoryPlan memory = plan_for(options_.calibration_images);
    const nlohmann::json fields = {{"plan", nlohmann::json::parse(to_json(plan_))},
                                   {"memory", to_json(memory)}};
    context_.reporter.result(fields, to_table(plan_) + "\n" + describe(memory));
  }

  std::vector<at::Tensor> inputs(const ShardSet& shards) {
    const StageTimer timer(seconds_["images"]);
    return load_inputs(shards, preprocessing_, local_micro_batches(micro_batches_, context_.communicator),
                       context_.threads, context_.communicator);
  }

  void compress(const ShardSet& shards) {
    auto& parameters = options_.compression;
    parameters.bn_along_the_walk = options_.bn == "walk";
    Compression compression(loaded_.network, plan_, parameters, context_);
    const WalkParameters walking{.threads = context_.threads};
    auto images = inputs(shards);
    {
      const StageTimer timer(seconds_["walk"]);
      walk(
          loaded_.network, std::move(images), walking, context_.communicator,
          [&](const WalkStep& step) { compression.before_step(step); }, &statistics_);
    }
    layers_ = compression.take_layers();
    seconds_.merge(compression.seconds());
    for (const char* stage : {"gram", "kmeans", "batch_norm"}) seconds_["walk"] -= seconds_[stage];
    if (parameters.bn_reestimate && !parameters.bn_along_the_walk) reestimate_at_the_end(shards);
  }

  void reestimate_at_the_end(const ShardSet& shards) {
    auto images = inputs(shards);
    const StageTimer timer(seconds_["batch_norm"]);
    walk(loaded_.network, std::move(images), WalkParameters{.threads = context_.threads},
         context_.communicator, [&](const WalkStep& step) {
           if (const BatchNormStep* batch_norm = loaded_.network.batch_norm_of_step(step.step)) {
             reestimate_batch_norm(loaded_.network, *batch_norm, step.inputs, context_.threads,
                                   context_.communicator);
           }
         });
  }

  void write(const ShardSet& shards) {
    Archive archive;
    ArchiveBytes bytes;
    const std::string provenance = provenance_json(context_, options_.model, shards.fingerprint());
    context_.communicator.guarded("writing the archive " + options_.output, [&] {
      if (!context_.communicator.is_root()) return;
      const StageTimer timer(seconds_["write"]);
      archive.kept = collect_kept(loaded_.network, layers_, kept_precision_from_string(options_.kept));
      archive.layers = std::move(layers_);
      archive.plan_json = to_json(plan_);
      archive.model = loaded_.network.save_without_weights();
      archive.provenance_json = provenance;
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
  LoadedNetwork loaded_;
  Preprocessing preprocessing_;
  Plan plan_;
  std::vector<std::int64_t> samples_;
  std::vector<std::vector<std::int64_t>> micro_batches_;
  std::vector<QuantizedLayer> layers_;
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
  return {job, [options](JobContext& context) { CompressJob(*options, context).run(); }};
}

}  // namespace bitfall
