// bitfall evaluate: top-1, top-5, loss of a network or an archive, and its distance from a teacher.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cstdio>
#include <memory>

#include "bitfall/errors.hpp"
#include "chosen_device.hpp"
#include "detection_evaluation.hpp"
#include "evaluation.hpp"
#include "inputs.hpp"
#include "io/archive/safetensors.hpp"
#include "layer_errors.hpp"
#include "output_path.hpp"
#include "permute.hpp"
#include "src/parallel/memory.hpp"
#include "src/parallel/threads.hpp"

namespace bitfall {

namespace {

struct EvaluateOptions {
  std::string model, teacher, logits, own_model, device = "auto";
  DataOptions data;
  DetectionOptions detections;
  std::int64_t images = 0;
  bool layer_errors = false;
};

class EvaluateJob {
 public:
  EvaluateJob(const EvaluateOptions& options, JobContext& context)
      : options_(options),
        context_(context),
        loaded_(load_network(options.model, context.communicator, options.own_model, options.data.logits)),
        student_(std::move(loaded_.network)),
        preprocessing_(preprocessing_from_name(options.data.preprocess)),
        shards_(open_shards(options.data, context)) {
    if (!options.teacher.empty())
      teacher_.emplace(load_network(options.teacher, context.communicator, "", options.data.logits).network);
    if (options.layer_errors && !teacher_) throw UsageError("--layer-errors needs --teacher");
    if (!options.logits.empty()) claim_ = claim_output(options.logits, context.communicator);
    const auto samples = choose_samples(static_cast<std::int64_t>(shards_.samples().size()), options.images,
                                        context.options.seed);
    batches_ =
        local_micro_batches(cut_micro_batches(samples, options.data.micro_batch), context.communicator);
  }

  void run() {
    const auto device = chosen_device(options_.device, context_);
    run_networks_on(*device, {&student_, teacher_ ? &*teacher_ : nullptr}, context_);
    if (student_.returns_detections()) return run_detector();
    const double begin = context_.reporter.seconds();
    context_.communicator.guarded("evaluating " + options_.model, [&] { evaluate(); });
    agree_on_bad_images(shards_, context_);
    total_.reduce(context_.communicator);
    const double seconds = context_.reporter.seconds() - begin;
    if (!options_.logits.empty()) write_logits();
    std::vector<LayerError> errors;
    if (options_.layer_errors) errors = layer_errors();
    report(seconds, errors);
  }

 private:
  void run_detector() {
    if (!options_.logits.empty() || options_.layer_errors)
      throw UsageError("a detector has no logits: --save-logits and --layer-errors are of classifiers");
    const double begin = context_.reporter.seconds();
    nlohmann::json fields = evaluate_detections({.network = student_,
                                                 .teacher = teacher_ ? &*teacher_ : nullptr,
                                                 .shards = shards_,
                                                 .preprocessing = preprocessing_,
                                                 .batches = batches_,
                                                 .options = options_.detections,
                                                 .context = context_});
    fields["model"] = options_.model;
    fields["seconds"] = context_.reporter.seconds() - begin;
    fields["peak_memory_bytes"] = context_.communicator.max(peak_rss_bytes());
    context_.reporter.result(fields, options_.model + ": " + describe_precision(fields));
  }

  /// Takes as many micro-batches as there are threads from the loader and runs them side by side.
  void evaluate() {
    BatchLoader loader(shards_, preprocessing_, batches_, context_.threads);
    for (;;) {
      std::vector<Batch> batches = next_batches(loader, context_.threads);
      if (batches.empty()) return;
      std::vector<Evaluation> parts(batches.size());
      std::vector<at::Tensor> logits(batches.size());
      parallel_for(static_cast<std::int64_t>(batches.size()), context_.threads, [&](std::int64_t i) {
        const auto slot = static_cast<std::size_t>(i);
        logits[slot] = evaluate_batch(std::move(batches[slot]), parts[slot]);
      });
      for (const Evaluation& part : parts) total_.add(part);
      if (!options_.logits.empty()) logits_.insert(logits_.end(), logits.begin(), logits.end());
    }
  }

  /// Images that stand in for ones that can't be decoded don't count.
  static void leave_out(const std::vector<std::int64_t>& replaced, std::vector<std::int64_t>& labels,
                        at::Tensor& logits, at::Tensor& reference) {
    std::vector<std::int64_t> rows, kept;
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(labels.size()); ++i) {
      if (std::find(replaced.begin(), replaced.end(), i) != replaced.end()) continue;
      rows.push_back(i);
      kept.push_back(labels[static_cast<std::size_t>(i)]);
    }
    const at::Tensor chosen = at::tensor(at::ArrayRef<std::int64_t>(rows));
    logits = logits.index_select(0, chosen);
    if (reference.defined()) reference = reference.index_select(0, chosen);
    labels = kept;
  }

  at::Tensor evaluate_batch(Batch&& batch, Evaluation& part) {
    const at::NoGradGuard no_grad;
    std::vector<std::int64_t> labels = batch.labels;
    const std::vector<std::int64_t> replaced = batch.replaced;
    const std::string first = shards_.samples().at(static_cast<std::size_t>(batch.indices.front())).key;
    const at::Tensor input = to_tensor(std::move(batch));
    // In-place operators may change a network's input, so the teacher gets its own.
    at::Tensor reference = teacher_ ? teacher_->forward(input.clone()).cpu() : at::Tensor();
    at::Tensor logits = student_.forward(input).cpu();
    if (!replaced.empty()) leave_out(replaced, labels, logits, reference);
    try {
      part.add(logits, labels, reference);
    } catch (const DataError& error) {
      throw DataError(std::string(error.what()) + " (in the micro-batch that starts at image '" + first +
                      "' of " + options_.data.shards + ")");
    }
    return logits;
  }

  void write_logits() {
    const at::Tensor mine = logits_.empty() ? at::Tensor() : at::cat(logits_).to(at::kFloat).contiguous();
    const std::span<const float> values(mine.defined() ? mine.const_data_ptr<float>() : nullptr,
                                        mine.defined() ? static_cast<std::size_t>(mine.numel()) : 0);
    const std::vector<float> all = context_.communicator.all_gather(values);
    context_.communicator.guarded("writing " + options_.logits, [&] {
      if (!context_.communicator.is_root()) return;
      const auto images = total_.images();
      KeptTensor tensor{
          "logits", "float32", {images, static_cast<std::int64_t>(all.size()) / images}, "float32", {}};
      const auto* bytes = reinterpret_cast<const std::uint8_t*>(all.data());
      tensor.bytes.assign(bytes, bytes + all.size() * sizeof(float));
      write_safetensors(options_.logits, std::vector<KeptTensor>{std::move(tensor)}, {});
    });
  }

  std::vector<LayerError> layer_errors() {
    if (loaded_.archive) {  // weights are compared entry by entry
      if (const auto found = repeat_permutation(*loaded_.archive, *teacher_, context_))
        permute_channels(*teacher_, found->graph, found->orders);
    }
    auto images = load_inputs(shards_, preprocessing_, batches_, context_.threads, context_);
    return measure_layer_errors(student_, *teacher_, std::move(images), context_.threads,
                                context_.communicator);
  }

  void report(double seconds, const std::vector<LayerError>& errors) {
    nlohmann::json fields = {{"model", options_.model},
                             {"images", total_.images()},
                             {"top1", total_.top1()},
                             {"top5", total_.top5()},
                             {"loss", total_.loss()},
                             {"seconds", seconds},
                             {"peak_memory_bytes", context_.communicator.max(peak_rss_bytes())}};
    char text[200];
    std::snprintf(text, sizeof text, "%s: top-1 %.2f %%, top-5 %.2f %%, loss %.4f on %lld images",
                  options_.model.c_str(), total_.top1(), total_.top5(), total_.loss(),
                  static_cast<long long>(total_.images()));
    std::string summary = text;
    if (teacher_) {
      fields["agreement"] = total_.agreement();
      fields["kl"] = total_.divergence();
      std::snprintf(text, sizeof text, "; agrees with the teacher on %.2f %%, KL %.4f", total_.agreement(),
                    total_.divergence());
      summary += text;
    }
    if (options_.layer_errors) {
      double sum = 0;
      for (const LayerError& error : errors) {
        sum += error.relative;
        fields["layer_errors"][error.layer] = error.relative;
      }
      fields["mean_layer_error"] = errors.empty() ? 0 : sum / double(errors.size());
      std::snprintf(text, sizeof text, "; mean relative output error of %zu layers %.4f", errors.size(),
                    errors.empty() ? 0 : sum / double(errors.size()));
      summary += text;
    }
    context_.reporter.result(fields, summary);
  }

  const EvaluateOptions& options_;
  JobContext& context_;
  LoadedNetwork loaded_;
  Network student_;
  std::optional<Network> teacher_;
  Preprocessing preprocessing_;
  ShardSet shards_;
  std::vector<std::vector<std::int64_t>> batches_;
  std::vector<at::Tensor> logits_;
  ClaimedOutput claim_;  ///< of --save-logits
  Evaluation total_;
};

}  // namespace

JobEntry register_evaluate(CLI::App& app, CommonOptions& common) {
  auto options = std::make_shared<EvaluateOptions>();
  CLI::App* job =
      app.add_subcommand("evaluate", "top-1, top-5 and loss of a TorchScript network or an archive");
  job->add_option("network", options->model, "TorchScript file or archive")->required();
  add_data_options(*job, options->data);
  add_model_option(*job, options->own_model);
  job->add_option("--teacher", options->teacher, "network to compare with: agreement and KL divergence");
  job->add_option("--images", options->images, "evaluate this many images, chosen by --seed; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  job->add_flag(
      "--layer-errors", options->layer_errors,
      "also the relative output error of each quantized layer (needs --teacher, holds all images in memory)");
  job->add_option("--save-logits", options->logits,
                  "write all logits to this safetensors file, in sample order");
  add_detection_options(*job, options->detections);
  add_device_option(*job, options->device, "networks run");
  add_common_options(*job, common);
  return {job, [options](JobContext& context) { EvaluateJob(*options, context).run(); }};
}

}  // namespace bitfall
