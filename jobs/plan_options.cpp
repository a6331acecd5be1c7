#include "plan_options.hpp"

#include "codebook_option.hpp"

namespace bitfall {

void add_plan_options(CLI::App& job, PlanOptions& options) {
  job.add_option("--regime", options.regime, "block sizes of the paper")
      ->check(CLI::IsMember({"small", "large"}))
      ->capture_default_str();
  job.add_option("--preset", options.parameters.preset, "rules for the classifier and 1x1 layers")
      ->check(CLI::IsMember({"auto", "resnet18", "resnet50", "mask-rcnn"}))
      ->capture_default_str();
  job.add_option("--metric", options.metric, "how errors are weighed")
      ->check(CLI::IsMember({"euclidean", "activation", "blockwise", "full"}))
      ->capture_default_str();
  job.add_option("--k", options.parameters.k, "codewords of a convolution, lowered where a layer is small")
      ->check(CLI::Range(2, 65536))
      ->capture_default_str();
  job.add_option("--k-linear", options.parameters.k_linear,
                 "codewords of a linear layer (default: the preset's)")
      ->check(CLI::Range(2, 65536));
  job.add_option(
         "--rate", options.parameters.rate,
         "relative output error that a bit a weight is worth: codes are chosen by error + rate * length, "
         "and k shrinks where that pays (e.g. 0.01; 0: by error alone)")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
}

void add_cluster_options(CLI::App& job, ClusterParameters& parameters) {
  job.add_option("--iterations", parameters.iterations, "k-means iterations at most")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  job.add_option("--anneal", parameters.anneal,
                 "noise on the blocks before each codebook update, in standard deviations of their values, "
                 "dying away over the iterations; 0: none")
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str();
  job.add_option("--restarts", parameters.restarts,
                 "quantize each layer from so many random starts and keep the one of least final error")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  job.add_option("--sweeps", parameters.sweeps, "with --metric full: codebook, then all codes, so many times")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  job.add_option("--damping", parameters.damping,
                 "with --metric full: added to the Gram matrix's diagonal, relative to its mean")
      ->check(CLI::Range(0.0, 1e6))
      ->capture_default_str();
  add_codebook_option(job, parameters.codebook_type, "default: fp16");
}

Plan make_plan(const Network& network, PlanOptions options, const std::vector<PlanOverride>& overrides) {
  options.parameters.regime = options.regime == "small" ? Regime::small : Regime::large;
  options.parameters.metric = metric_from_string(options.metric);
  options.parameters.overrides = overrides;
  return make_plan(network.layers(), network.tensors(), options.parameters);
}

}  // namespace bitfall
