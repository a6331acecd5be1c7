#pragma once
/// The configuration file of a job: TOML whose keys are the long option names.
#include <CLI/CLI.hpp>

#include <string>
#include <vector>

#include "bitfall/plan.hpp"

namespace bitfall {

struct ConfigFile {
  std::vector<std::string> arguments;   ///< as they would stand on the command line
  std::vector<PlanOverride> overrides;  ///< its [[layer]] tables, in order
};

/// Reads `path` for the subcommand `job`. Arguments of the command line come after these and win.
/// Throws MissingInputError for a missing file; ConfigError for bad TOML, an unknown key (with the nearest
/// name) or a value of the wrong type.
[[nodiscard]] ConfigFile read_config_file(const std::string& path, const CLI::App& job);

}  // namespace bitfall
