// The configuration file of a job and the preprocessing file, both TOML. The first byte chooses.
#include <cstdint>
#include <string>

#include "bitfall/errors.hpp"
#include "bitfall/images.hpp"
#include "jobs/config_file.hpp"
#include "scratch.hpp"

using namespace bitfall;

namespace {

/// A subcommand with every kind of option that jobs have.
struct Job {
  CLI::App app{"fuzz"};
  std::int64_t k = 0;
  double rate = 0;
  bool flag = false;
  std::string regime;
  Job() {
    app.add_option("--k", k)->check(CLI::Range(2, 65536));
    app.add_option("--learning-rate", rate)->check(CLI::NonNegativeNumber);
    app.add_option("--regime", regime)->check(CLI::IsMember({"small", "large"}));
    app.add_flag("--bn-reestimate", flag);
    app.add_option("--config", regime);
  }
};

void read_config(const std::string& path) {
  Job job;
  ConfigFile config = read_config_file(path, job.app);
  std::vector<std::string> arguments(config.arguments.rbegin(), config.arguments.rend());
  try {
    job.app.parse(arguments);
  } catch (const CLI::ParseError&) {
    return;  // the program says it as a usage error
  }
  if (job.k != 0 && (job.k < 2 || job.k > 65536)) fuzz::fail("k out of range");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fuzz::ScratchFolder folder;
  if (size == 0) return 0;
  const std::string path = folder.write("a.toml", fuzz::as_text(data + 1, size - 1));
  try {
    if (data[0] % 2 == 0) {
      read_config(path);
    } else {
      const Preprocessing how = preprocessing_from_name(path);
      if (how.crop < 0 || how.resize < 0 || (how.channels != 1 && how.channels != 3))
        fuzz::fail("accepted nonsense");
    }
  } catch (const ConfigError& error) {
    fuzz::require_named(error.what(), "a.toml");
  }
  return 0;
}
