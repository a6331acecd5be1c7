#pragma once
/// Options of the jobs that quantize: what gets which d and k.
#include <CLI/CLI.hpp>

#include <string>
#include <vector>

#include "bitfall/network.hpp"
#include "bitfall/plan.hpp"
#include "cluster_layer.hpp"

namespace bitfall {

struct PlanOptions {
  std::string regime = "small";
  std::string metric = "activation";
  PlanParameters parameters;
};
void add_plan_options(CLI::App& job, PlanOptions& options);
void add_cluster_options(CLI::App& job, ClusterParameters& parameters);
/// `overrides`: the [[layer]] tables of the configuration file.
[[nodiscard]] Plan make_plan(const Network& network, PlanOptions options,
                             const std::vector<PlanOverride>& overrides);

}  // namespace bitfall
