// bitfall check: whether a network runs step by step, and what compressing it would do to each layer.
#include <ATen/ops/empty.h>
#include <c10/core/GradMode.h>

#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bitfall/errors.hpp"
#include "bitfall/random.hpp"
#include "inputs.hpp"
#include "io/files/file.hpp"
#include "plan_options.hpp"
#include "src/model/logits.hpp"
#include "src/model/ordinary_forward.hpp"

namespace bitfall {

namespace {

struct CheckOptions {
  std::string model, logits, input_type = "float32";
  std::vector<std::int64_t> input_shape = {3, 224, 224};
  std::int64_t batch = 2;
  PlanOptions plan;
};

/// Values in [-1, 1), or of integers 0 to 99: the same for the same seed.
at::Tensor random_input(const CheckOptions& options, std::uint64_t seed) {
  std::vector<std::int64_t> shape = {options.batch};
  shape.insert(shape.end(), options.input_shape.begin(), options.input_shape.end());
  at::Tensor input = at::empty(shape, at::kFloat);
  float* value = input.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < input.numel(); ++i) {
    const auto bits = random_bits(seed, random_stream::calibration_images, static_cast<std::uint64_t>(i));
    value[i] = static_cast<float>(static_cast<double>(bits >> 11) * 0x1p-52 - 1);
  }
  if (options.input_type == "float32") return input;
  return input.abs().mul(100).to(at::kLong);
}

/// What happened when the network ran on the random input.
struct Trial {
  bool same_bits = false;
  std::string output_type, logits;  ///< logits: their shape, or why there are none
};

std::string logits_shape(const at::Tensor& tensor) {
  std::string text;
  for (const std::int64_t size : tensor.sizes()) text += (text.empty() ? "" : "x") + std::to_string(size);
  return text;
}

Trial try_network(const Network& network, const std::string& bytes, const CheckOptions& options,
                  std::uint64_t seed) {
  const c10::AutoGradMode no_gradients(false);
  const at::Tensor input = random_input(options, seed);
  const c10::IValue result = network.run(input.clone());
  Trial trial;
  trial.same_bits =
      same_bits(result, ordinary_forward(bytes, options.model, input)) &&
      same_bits(result, ordinary_forward(bytes, options.model, input, random_input(options, seed + 1)));
  trial.output_type = result.type()->str();
  try {
    trial.logits = logits_shape(logits_of(result, options.logits));
  } catch (const DataError& error) {
    trial.logits = std::string("none: ") + error.what();
  }
  return trial;
}

/// Weights in layers that are quantized, of all weights of layers.
double share_of_weights(const Plan& plan) {
  std::int64_t quantized = 0, all = 0;
  for (const LayerPlan& layer : plan.layers) {
    all += layer.layer.elements();
    if (layer.quantized) quantized += layer.layer.elements();
  }
  return all == 0 ? 0 : double(quantized) / double(all);
}

void run_check(const CheckOptions& options, JobContext& context) {
  std::string bytes;
  context.communicator.guarded("reading " + options.model, [&] {
    if (context.communicator.is_root()) bytes = read_file(options.model);
  });
  const LoadedNetwork loaded = load_network(options.model, context.communicator);
  if (loaded.archive) throw DataError(options.model + " is an archive; `bitfall inspect` says what it holds");
  const Plan plan = make_plan(loaded.network, options.plan, context.options.overrides);
  Trial trial;
  context.communicator.guarded("running " + options.model, [&] {
    if (context.communicator.is_root())
      trial = try_network(loaded.network, bytes, options, context.options.seed);
  });
  context.communicator.guarded("checking " + options.model, [&] {
    if (!context.communicator.is_root() || trial.same_bits) return;
    throw DataError("'" + options.model +
                    "' gives other bits step by step than as a whole: is something random in its forward, or "
                    "does it remember earlier inputs?");
  });
  const nlohmann::json fields = {{"model", options.model},
                                 {"steps", loaded.network.step_count()},
                                 {"same_bits", trial.same_bits},
                                 {"output", trial.output_type},
                                 {"logits", trial.logits},
                                 {"quantized_weight_share", share_of_weights(plan)},
                                 {"plan", nlohmann::json::parse(to_json(plan))}};
  char text[160];
  std::snprintf(text, sizeof text, "%.1f %% of the layers' weights would be quantized\n",
                100 * share_of_weights(plan));
  context.reporter.result(fields, to_table(plan) + text + std::to_string(loaded.network.step_count()) +
                                      " steps, the same bits as the ordinary forward; returns " +
                                      trial.output_type + "; logits: " + trial.logits);
}

}  // namespace

JobEntry register_check(CLI::App& app, CommonOptions& common) {
  auto options = std::make_shared<CheckOptions>();
  CLI::App* job = app.add_subcommand(
      "check", "what compress would do to each layer of a network, and why; no images are needed");
  job->add_option("model", options->model, "TorchScript file (torch.jit.script(model).save)")->required();
  job->add_option("--input-shape", options->input_shape, "of one input, e.g. 3,224,224")
      ->delimiter(',')
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  job->add_option("--input-dtype", options->input_type, "float32 or int64 (0 to 99)")
      ->check(CLI::IsMember({"float32", "int64"}))
      ->capture_default_str();
  job->add_option("--batch", options->batch, "inputs that go through the network together")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  add_logits_option(*job, options->logits);
  add_plan_options(*job, options->plan);
  add_common_options(*job, common);
  return {job, [options](JobContext& context) { run_check(*options, context); }};
}

}  // namespace bitfall
