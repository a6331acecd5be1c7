// bitfall: parses, starts MPI, runs one job, and turns exceptions into one message and an exit code.
#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <map>
#include <new>
#include <optional>

#include "bitfall/errors.hpp"
#include "config_file.hpp"
#include "deadline.hpp"
#include "ending.hpp"
#include "job.hpp"
#include "runtime.hpp"
#include "src/parallel/stall_watchdog.hpp"
#include "version.hpp"

namespace {

using namespace bitfall;

struct Parsed {
  CommonOptions common;
  double stall_timeout_seconds = 600;
  JobRunner run;
};

std::map<std::string, JobEntry> register_jobs(CLI::App& app, CommonOptions& common) {
  std::map<std::string, JobEntry> jobs;
  for (const auto& add :
       {register_pack, register_check, register_collect, register_quantize, register_compress,
        register_finetune, register_evaluate, register_inspect, register_verify, register_export,
        register_import, register_report, register_doctor}) {
    const JobEntry entry = add(app, common);
    jobs[entry.parser->get_name()] = entry;
  }
  return jobs;
}

/// The value of --config among the raw arguments; empty when there is none.
std::string find_config(const std::vector<std::string>& arguments) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "--config" && i + 1 < arguments.size()) return arguments[i + 1];
    if (arguments[i].rfind("--config=", 0) == 0) return arguments[i].substr(9);
  }
  return "";
}

void set_up(CLI::App& app) {
  app.require_subcommand(1);
  app.option_defaults()->take_last();
  app.set_version_flag("--version", version_text());
}

void add_stall_timeout(CLI::App& job, double& seconds) {
  job.add_option(
         "--stall-timeout", seconds,
         "seconds after which a job ends with exit code 69 whose ranks wait for one that hangs or is gone; "
         "0: never")
      ->check(CLI::Range(0.0, 1e9))
      ->capture_default_str();
}

/// Arguments of the configuration file go before those of the command line, so that the latter win.
void parse(CLI::App& app, Parsed& parsed, std::vector<std::string> arguments) {
  const auto jobs = register_jobs(app, parsed.common);
  for (const auto& [name, entry] : jobs) add_stall_timeout(*entry.parser, parsed.stall_timeout_seconds);
  const std::vector<std::string> original = arguments;
  const std::string config = find_config(arguments);
  const auto job = arguments.empty() ? jobs.end() : jobs.find(arguments.front());
  if (!config.empty() && job != jobs.end()) {
    ConfigFile file = read_config_file(config, *job->second.parser);
    arguments.insert(arguments.begin() + 1, file.arguments.begin(), file.arguments.end());
    parsed.common.overrides = std::move(file.overrides);
  }
  std::reverse(arguments.begin(), arguments.end());  // CLI11 takes a stack
  app.parse(arguments);
  parsed.common.command_line = original;
  parsed.run = jobs.at(app.get_subcommands().front()->get_name()).run;
}

int run(Parsed& parsed, const Communicator& communicator) {
  std::unique_ptr<Reporter> reporter;
  communicator.guarded("opening the log", [&] {
    reporter = std::make_unique<Reporter>(communicator.is_root(), parsed.common.log_json, parsed.common.json);
  });
  JobContext context{parsed.common, communicator, *reporter,
                     resolve_threads(parsed.common.threads, communicator)};
  configure_libraries();
  communicator.guarded("loading operators", [&] { load_operators(parsed.common.op_libraries); });
  parsed.run(context);
  return static_cast<int>(ExitCode::ok);
}

/// From the watchdog's thread: the main thread is stuck in a collective.
void end_stalled_job(const std::string& message) {
  std::cerr << "bitfall: the job is stalled: " + message + "; the last checkpoint is as it was\n"
            << std::flush;
  // Should MPI hang too, the process ends without it.
  std::signal(SIGALRM, [](int) { std::_Exit(static_cast<int>(ExitCode::cluster)); });
  alarm(5);
  MPI_Abort(MPI_COMM_WORLD, static_cast<int>(ExitCode::cluster));
}

/// `deadline` ends when the ranks watch each other, and begins again, for `patience` seconds, before they
/// cease to.
int run_and_report(Parsed& parsed, const Communicator& communicator, std::optional<Deadline>& deadline,
                   double patience) {
  const Ending ending;
  const StallWatchdog watchdog(communicator, parsed.stall_timeout_seconds, end_stalled_job);
  deadline.reset();
  const auto fail = [&](ExitCode code, const std::string& message) {
    deadline.emplace(patience, "all ranks to end MPI");
    return ending.fail(code, message);
  };
  try {
    const int code = run(parsed, communicator);
    communicator.barrier();  // while it is watched: a rank that hangs now would hang MPI_Finalize
    deadline.emplace(patience, "all ranks to end MPI");
    return code;
  } catch (const Error& error) {
    return fail(error.code(), error.what());
  } catch (const std::bad_alloc&) {
    return fail(ExitCode::cluster, "out of memory: use more ranks, fewer images or a smaller micro-batch");
  } catch (const std::exception& error) {
    return fail(ExitCode::internal, std::string("unexpected error, please report it: ") + error.what());
  }
}

/// The end of a job that can't begin. All ranks come here together: mpirun kills the others as soon as one
/// has left with an error, rank 0 perhaps before its message is out.
int refuse(int& argc, char**& argv, ExitCode code, const std::string& message) {
  if (!launcher_rank()) {
    std::cerr << "bitfall: " << message << std::endl;
    return static_cast<int>(code);
  }
  const MpiSession session(argc, argv);
  return Ending().fail(code, message);
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // a file-size limit must be a write error, not a crash
  std::signal(SIGPIPE, SIG_IGN);
  CLI::App app{"bitfall compresses trained convolutional networks 20 to 40 times", "bitfall"};
  set_up(app);
  Parsed parsed;
  int usage_code = 0;
  std::string usage_message;
  try {
    parse(app, parsed, std::vector<std::string>(argv + 1, argv + argc));
  } catch (const CLI::Success& request) {  // --help, --version
    return launcher_rank().value_or(0) == 0 ? app.exit(request) : 0;
  } catch (const CLI::ParseError& error) {
    usage_code = static_cast<int>(ExitCode::usage);
    usage_message = std::string(error.what()) + " (see 'bitfall --help')";
  } catch (const Error& error) {
    usage_code = static_cast<int>(error.code());
    usage_message = error.what();
  }
  if (usage_code != 0) return refuse(argc, argv, static_cast<ExitCode>(usage_code), usage_message);
  int code = static_cast<int>(ExitCode::cluster);
  try {
    // Starting takes its time where programs come over a network.
    const double patience =
        parsed.stall_timeout_seconds > 0 ? std::max(parsed.stall_timeout_seconds, 30.0) : 0;
    std::optional<Deadline> deadline(std::in_place, patience, "all ranks to start MPI");
    const MpiSession session(argc, argv);
    code = run_and_report(parsed, Communicator::world(), deadline, patience);
  } catch (const Error& error) {
    std::cerr << "bitfall: " << error.what() << std::endl;
    code = static_cast<int>(error.code());
  }
  return code;
}
