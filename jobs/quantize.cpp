// bitfall quantize: a network and collected statistics -> archive; layers dealt to ranks, no images.
#include <algorithm>
#include <cstdio>

#include "bitfall/archive.hpp"
#include "bitfall/errors.hpp"
#include "chosen_device.hpp"
#include "cluster_layer.hpp"
#include "collected.hpp"
#include "gather_layers.hpp"
#include "inputs.hpp"
#include "kept.hpp"
#include "output_path.hpp"
#include "plan_options.hpp"
#include "plan_search.hpp"
#include "provenance.hpp"
#include "src/parallel/deal.hpp"
#include "src/parallel/memory.hpp"

namespace bitfall {

namespace {

struct QuantizeOptions {
  std::string model, statistics, output;
  PlanOptions plan;
  ClusterParameters cluster;
  std::string kept = "exact";
  SizeTarget target;
  bool no_embedded_model = false;
};

class QuantizeJob {
 public:
  QuantizeJob(const QuantizeOptions& options, JobContext& context)
      : options_(options),
        context_(context),
        loaded_(load_network(options.model, context.communicator)),
        plan_(make_plan(loaded_.network, options.plan, context.options.overrides)) {
    for (LayerPlan& planned : plan_.layers)  // what `collect` has nothing about
      if (planned.layer.transposed) planned.metric = Metric::euclidean;
  }

  void run() {
    const std::int64_t target = options_.target.is_set() ? options_.target.bytes(plan_.sizes) : 0;
    if (context_.options.dry_run) {
      if (target > 0) search(target);
      return context_.reporter.result({{"plan", nlohmann::json::parse(to_json(plan_))}}, to_table(plan_));
    }
    if (options_.output.empty()) throw UsageError("-o/--output is required: where the archive goes");
    const ClaimedOutput claim = claim_output(options_.output, context_.communicator);
    device_ = chosen_device(options_.cluster.device, context_);
    if (target > 0) search(target);
    const Collected collected = read_collected(options_.statistics, loaded_.file_sha256, context_);
    const double begin = context_.reporter.seconds();
    if (target == 0) quantize(collected);
    settle_plan(plan_, layers_, target > 0, loaded_.network.tensors());
    const double seconds = context_.reporter.seconds() - begin;
    write(collected.description.at("data"), seconds);
  }

 private:
  /// Quantizes every layer in several ways, all ranks together, and keeps the best that fits the target.
  void search(std::int64_t target) {
    const Collected collected = read_collected(options_.statistics, loaded_.file_sha256, context_);
    const std::string provenance =
        provenance_json(context_, options_.model, collected.description.at("data"));
    Measured measured = measure(collected);
    const SizeBudget budget =
        fit_file(measured, options_.target, target, {}, [&](std::vector<QuantizedLayer> layers) {
          Network network =
              load_network(options_.model, context_.communicator).network;  // folding changes it
          Plan plan = plan_;
          settle_plan(plan, layers, true, network.tensors());
          return file_bytes(make_archive(network, std::move(layers), plan, provenance));
        });
    layers_ = measured.chosen(budget);
    apply(budget, plan_);
    settle_plan(plan_, layers_, true, loaded_.network.tensors());
  }

  Measured measure(const Collected& collected) {
    Measured measured;
    for (std::size_t i = 0; i < plan_.layers.size(); ++i) {
      if (!plan_.layers[i].quantized) continue;
      measured.indices.push_back(i);
      measured.weights.push_back(1);
      measured.layers.push_back(measure_layer(
          loaded_.network, plan_, i, context_.options.overrides,
          [&](const LayerPlan& candidate) { return moments_of(collected, candidate); }, cluster_parameters(),
          context_.communicator));
    }
    return measured;
  }

  [[nodiscard]] ClusterParameters cluster_parameters() const {
    ClusterParameters parameters = options_.cluster;
    parameters.seed = context_.options.seed;
    parameters.threads = context_.threads;
    if (device_) parameters.backend = &device_->backend();
    return parameters;
  }

  /// This rank's layers, each alone on this rank: no rank waits for another until the end.
  void quantize(const Collected& collected) {
    std::vector<double> costs;
    for (std::size_t i = 0; i < plan_.layers.size(); ++i) {
      const LayerPlan& planned = plan_.layers[i];
      if (!planned.quantized) continue;
      planned_.push_back(i);
      costs.push_back(double(planned.n) * double(planned.k) * double(planned.d));
    }
    const std::vector<int> owner = deal(costs, context_.communicator.size());
    std::vector<double> relative(planned_.size(), 0.0);
    layers_.resize(planned_.size());
    context_.communicator.guarded("quantizing the layers", [&] {
      for (std::size_t i = 0; i < planned_.size(); ++i) {
        if (owner[i] == context_.communicator.rank()) relative[i] = quantize_one(i, collected);
      }
    });
    for (std::size_t i = 0; i < planned_.size(); ++i) describe(i);
    gather_layers(layers_, owner, context_.communicator);
    for (std::size_t i = 0; i < planned_.size(); ++i) {
      context_.communicator.broadcast(std::span<double>(&relative[i], 1), owner[i]);
      report({layers_[i], relative[i]}, context_.reporter);
    }
  }

  double quantize_one(std::size_t i, const Collected& collected) {
    const LayerPlan& planned = plan_.layers[planned_[i]];
    const ClusteredLayer clustered =
        cluster_layer(loaded_.network, plan_, planned_[i], moments_of(collected, planned),
                      cluster_parameters(), Communicator::self());
    layers_[i] = clustered.layer;
    return clustered.relative_error;
  }

  /// What every rank knows of a layer that another one has quantized.
  void describe(std::size_t i) {
    const LayerPlan& planned = plan_.layers[planned_[i]];
    QuantizedLayer& layer = layers_[i];
    layer.name = planned.layer.name;
    layer.weight_name = planned.layer.weight_name;
    layer.kind = planned.layer.kind;
    layer.weight_shape = planned.layer.weight_shape;
    layer.groups = planned.layer.groups;
    layer.d = planned.d;
    layer.metric = planned.metric;
  }

  /// Folds the batch norms of the network where --kept says so.
  [[nodiscard]] Archive make_archive(Network& network, std::vector<QuantizedLayer> layers, const Plan& plan,
                                     const std::string& provenance) const {
    Archive archive;
    archive.kept = collect_kept(network, layers, kept_precision_from_string(options_.kept));
    archive.layers = std::move(layers);
    archive.plan_json = to_json(plan);
    if (!options_.no_embedded_model) archive.model = network.save_without_weights();
    archive.provenance_json = provenance;
    return archive;
  }

  void write(const std::string& data_fingerprint, double seconds) {
    Archive archive;
    ArchiveBytes bytes;
    const std::string provenance = provenance_json(context_, options_.model, data_fingerprint);
    context_.communicator.guarded("writing the archive " + options_.output, [&] {
      if (!context_.communicator.is_root()) return;
      archive = make_archive(loaded_.network, layers_, plan_, provenance);
      bytes = write_archive(archive, options_.output);
    });
    const double ratio = double(plan_.sizes.original_bytes) / double(std::max<std::int64_t>(bytes.file, 1));
    char text[160];
    std::snprintf(text, sizeof text, ": %.3f MiB (%.1f times smaller), sha256 %.16s",
                  double(bytes.file) / (1 << 20), ratio, archive.content_sha256.c_str());
    context_.reporter.result({{"archive", options_.output},
                              {"content_sha256", archive.content_sha256},
                              {"bytes", bytes.file},
                              {"ratio", ratio},
                              {"information_bytes", plan_.sizes.information_bytes()},
                              {"coded_bytes", coded_bytes(layers_)},
                              {"layers", layers_.size()},
                              {"seconds", seconds},
                              {"peak_memory_bytes", context_.communicator.max(peak_rss_bytes())}},
                             options_.output + text);
  }

  const QuantizeOptions& options_;
  JobContext& context_;
  std::unique_ptr<ComputeDevice> device_;
  LoadedNetwork loaded_;
  Plan plan_;
  std::vector<std::size_t> planned_;  ///< indices of the quantized layers in the plan
  std::vector<QuantizedLayer> layers_;
};

}  // namespace

JobEntry register_quantize(CLI::App& app, CommonOptions& common) {
  auto options = std::make_shared<QuantizeOptions>();
  CLI::App* job =
      app.add_subcommand("quantize", "quantize a network on collected statistics, without images");
  job->add_option("model", options->model, "TorchScript file")->required();
  job->add_option("-a,--statistics", options->statistics, "run file that 'bitfall collect' wrote")
      ->required();
  job->add_option("-o,--output", options->output, "the archive to write (not needed with --dry-run)");
  add_plan_options(*job, options->plan);
  add_size_options(*job, options->target);
  add_cluster_options(*job, options->cluster);
  add_device_option(*job, options->cluster.device, "k-means runs");
  job->add_option("--kept", options->kept, "how unquantized tensors are stored: exact, fp16 or folded")
      ->check(CLI::IsMember({"exact", "fp16", "folded"}))
      ->capture_default_str();
  add_no_model_option(*job, options->no_embedded_model);
  job->add_flag("--dry-run", common.dry_run, "print the plan (layers, d, k, bytes) and stop");
  add_common_options(*job, common);
  return {job, [options](JobContext& context) { QuantizeJob(*options, context).run(); }};
}

}  // namespace bitfall
