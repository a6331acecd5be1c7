#pragma once
/// What every job (subcommand) shares: its options, its context and how it is registered.
#include <CLI/CLI.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bitfall/communicator.hpp"
#include "bitfall/plan.hpp"
#include "reporter.hpp"

namespace bitfall {

/// Options that have the same name in every job.
struct CommonOptions {
  std::string config_file;  ///< --config: TOML with the long option names as keys
  std::string log_json;     ///< --log-json: JSON lines
  bool json = false;        ///< --json: one JSON object on standard output instead of text
  bool dry_run = false;     ///< --dry-run: print the plan and stop
  std::uint64_t seed = 0;
  int threads = 0;                        ///< of this rank; 0: cores of this host / ranks on it
  std::vector<std::string> op_libraries;  ///< --op-library: shared objects that register operators
  std::vector<PlanOverride> overrides;    ///< [[layer]] tables of the configuration file
  std::vector<std::string> command_line;
};

class ArrayWork;

/// What a running job gets.
struct JobContext {
  const CommonOptions& options;
  const Communicator& communicator;
  Reporter& reporter;
  int threads = 1;                    ///< resolved
  const ArrayWork* arrays = nullptr;  ///< of the chosen device, where networks run; none: on the host
};

using JobRunner = std::function<void(JobContext&)>;

/// A registered subcommand: its parser and what runs when it is chosen.
struct JobEntry {
  CLI::App* parser = nullptr;
  JobRunner run;
};

/// Each job file has one of these: adds its subcommand to `app` and says what to run.
JobEntry register_pack(CLI::App& app, CommonOptions& common);
JobEntry register_check(CLI::App& app, CommonOptions& common);
JobEntry register_collect(CLI::App& app, CommonOptions& common);
JobEntry register_quantize(CLI::App& app, CommonOptions& common);
JobEntry register_compress(CLI::App& app, CommonOptions& common);
JobEntry register_finetune(CLI::App& app, CommonOptions& common);
JobEntry register_evaluate(CLI::App& app, CommonOptions& common);
JobEntry register_inspect(CLI::App& app, CommonOptions& common);
JobEntry register_verify(CLI::App& app, CommonOptions& common);
JobEntry register_export(CLI::App& app, CommonOptions& common);
JobEntry register_import(CLI::App& app, CommonOptions& common);
JobEntry register_report(CLI::App& app, CommonOptions& common);
JobEntry register_doctor(CLI::App& app, CommonOptions& common);

/// Adds --config, --log-json, --json, --seed, --threads to a subcommand.
void add_common_options(CLI::App& job, CommonOptions& common);

}  // namespace bitfall
