#include "job.hpp"

namespace bitfall {

void add_common_options(CLI::App& job, CommonOptions& common) {
  job.add_option("--config", common.config_file,
                 "TOML file with long option names as keys; the command line wins");
  job.add_option("--log-json", common.log_json, "write JSON lines here; the last one is the result");
  job.add_flag("--json", common.json, "print one JSON object instead of text");
  job.add_option(
         "--op-library", common.op_libraries,
         "shared object that registers operators which the network calls (TORCH_LIBRARY); may be repeated")
      ->take_all();
  job.add_option("--seed", common.seed, "seed of every random choice")->capture_default_str();
  job.add_option("--threads", common.threads, "threads of a rank; 0: cores of the host / ranks on it")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
}

}  // namespace bitfall
