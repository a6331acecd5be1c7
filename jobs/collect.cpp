// bitfall collect: second moments of every layer's inputs, so that a sweep pays for the images once.
#include "bitfall/calibration.hpp"
#include "bitfall/errors.hpp"
#include "bitfall/images.hpp"
#include "chosen_device.hpp"
#include "collected.hpp"
#include "finetuning.hpp"
#include "inputs.hpp"
#include "memory_plan.hpp"
#include "output_path.hpp"
#include "src/parallel/memory.hpp"

namespace bitfall {

namespace {

struct CollectOptions {
  std::string model, output;
  DataOptions data;
  std::int64_t calibration_images = 1024;
  std::string device = "auto";
};

class CollectJob {
 public:
  CollectJob(const CollectOptions& options, JobContext& context)
      : options_(options),
        context_(context),
        loaded_(load_network(options.model, context.communicator, "", options.data.logits)),
        preprocessing_(preprocessing_from_name(options.data.preprocess)) {}

  void run() {
    const ClaimedOutput claim = claim_output(options_.output, context_.communicator);
    const auto device = chosen_device(options_.device, context_);
    const ShardSet shards = open_shards(options_.data, context_);
    const auto samples = choose_samples(static_cast<std::int64_t>(shards.samples().size()),
                                        options_.calibration_images, context_.options.seed);
    const auto local =
        local_micro_batches(cut_micro_batches(samples, options_.data.micro_batch), context_.communicator);
    image_names_ = image_names(shards, local);
    const MemoryPlan memory =
        plan_memory(loaded_.network, largest_input(shards, preprocessing_, samples, context_.communicator),
                    static_cast<std::int64_t>(samples.size()), options_.data.micro_batch, context_.threads,
                    context_.communicator);
    context_.reporter.info(std::to_string(samples.size()) + " images, " + describe(memory));
    run_networks_on(*device, {&loaded_.network}, context_);
    auto images = load_inputs(shards, preprocessing_, local, context_.threads, context_);
    const double begin = context_.reporter.seconds();
    walk(loaded_.network, std::move(images), WalkParameters{.threads = context_.threads},
         context_.communicator, [&](const WalkStep& step) { collect(step); });
    const double seconds = context_.reporter.seconds() - begin;
    collected_.description = {{"model", loaded_.file_sha256},
                              {"data", shards.fingerprint()},
                              {"images", samples.size()},
                              {"preprocess", to_json(preprocessing_)},
                              {"seed", context_.options.seed}};
    write_collected(collected_, options_.output, context_);
    context_.reporter.result({{"run_file", options_.output},
                              {"layers", collected_.grams.size()},
                              {"images", samples.size()},
                              {"seconds", seconds},
                              {"images_per_second", double(samples.size()) / seconds},
                              {"peak_memory_bytes", context_.communicator.max(peak_rss_bytes())}},
                             options_.output + ": inputs of " + std::to_string(collected_.grams.size()) +
                                 " layers on " + std::to_string(samples.size()) + " images");
  }

 private:
  void collect(const WalkStep& step) {
    const auto index = step.layer;
    if (!index) return;
    const Layer& layer = loaded_.network.layers().at(*index);
    // Transposed convolutions have no matrix of inputs; `quantize` takes them with the plain metric.
    if (!layer.obstacle.empty() || layer.transposed) return;
    const std::int64_t width = gram_width(layer);
    const Gram gram = accumulate_gram(layer, step.inputs,
                                      {.d = width,
                                       .per_position = true,
                                       .threads = context_.threads,
                                       .image_names = image_names_,
                                       .arrays = context_.arrays},
                                      context_.communicator);
    KeptTensor tensor = as_array(layer.name, std::span<const double>(gram.per_position));
    tensor.shape = {layer.columns() / width, width, width};
    collected_.grams.push_back(std::move(tensor));
    context_.reporter.info("layer " + layer.name + ": " + std::to_string(layer.columns()) + " columns, " +
                           std::to_string(gram.samples) + " rows");
  }

  const CollectOptions& options_;
  JobContext& context_;
  LoadedNetwork loaded_;
  Preprocessing preprocessing_;
  Collected collected_;
  std::vector<std::string> image_names_;  ///< this rank's
};

}  // namespace

JobEntry register_collect(CLI::App& app, CommonOptions& common) {
  auto options = std::make_shared<CollectOptions>();
  CLI::App* job =
      app.add_subcommand("collect", "statistics of every layer's inputs, for any number of 'quantize' jobs");
  job->add_option("model", options->model, "TorchScript file")->required();
  add_data_options(*job, options->data);
  job->add_option("-o,--output", options->output, "the run file to write")->required();
  job->add_option("--calibration-images", options->calibration_images,
                  "images that statistics come from; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  add_device_option(*job, options->device, "the network runs");
  add_common_options(*job, common);
  return {job, [options](JobContext& context) { CollectJob(*options, context).run(); }};
}

}  // namespace bitfall
