// bitfall report: archives -> one HTML page of figures and tables.
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "bitfall/errors.hpp"
#include "job.hpp"
#include "output_path.hpp"
#include "run_python.hpp"

namespace bitfall {

namespace {

struct ReportOptions {
  std::vector<std::string> archives, logs;
  std::string output;
};

void run_report(const ReportOptions& options, JobContext& context) {
  const ClaimedOutput claim = claim_output(options.output, context.communicator);
  std::vector<std::string> arguments = {options.output};
  arguments.insert(arguments.end(), options.archives.begin(), options.archives.end());
  for (const std::string& log : options.logs) arguments.insert(arguments.end(), {"--log", log});
  std::uintmax_t bytes = 0;
  context.communicator.guarded("drawing " + options.output, [&] {
    if (!context.communicator.is_root()) return;
    run_python("bitfall_report.py", arguments);
    bytes = std::filesystem::file_size(options.output);
  });
  context.reporter.result(
      {{"report", options.output}, {"archives", options.archives.size()}, {"bytes", bytes}},
      "wrote " + options.output + " (open it in any browser; it loads nothing)");
}

}  // namespace

JobEntry register_report(CLI::App& app, CommonOptions& common) {
  auto options = std::make_shared<ReportOptions>();
  CLI::App* job = app.add_subcommand("report", "draw archives: sizes, errors, objectives, codes, codewords");
  job->add_option("archives", options->archives, "archives")->required();
  job->add_option("-o,--output", options->output, "the HTML page to write")->required();
  job->add_option(
         "--log", options->logs,
         "what --log-json or --json wrote of compress, finetune or evaluate of these archives: errors, "
         "finetuning and accuracies are only there (repeatable)")
      ->take_all();
  add_common_options(*job, common);
  return {job, [options](JobContext& context) { run_report(*options, context); }};
}

}  // namespace bitfall
