#include "provenance.hpp"

#include <ctime>
#include <set>

#include "library_versions.hpp"
#include "runtime.hpp"
#include "version.hpp"

namespace bitfall {

namespace {

std::string utc_time() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

}  // namespace

std::string provenance_json(const JobContext& context, const std::string& model_file,
                            const std::string& data_fingerprint) {
  const auto names = context.communicator.all_gather(host_name());
  nlohmann::json libraries;
  for (const auto& [name, version] : library_versions()) libraries[name] = version;
  const nlohmann::json fields = {{"program", "bitfall"},
                                 {"version", version()},
                                 {"git_commit", git_commit()},
                                 {"command_line", context.options.command_line},
                                 {"config_file", context.options.config_file},
                                 {"created", utc_time()},
                                 {"hosts", std::set<std::string>(names.begin(), names.end())},
                                 {"ranks", context.communicator.size()},
                                 {"threads_per_rank", context.threads},
                                 {"seed", context.options.seed},
                                 {"model_file", model_file},
                                 {"data_fingerprint", data_fingerprint},
                                 {"libraries", libraries}};
  return fields.dump();
}

}  // namespace bitfall
