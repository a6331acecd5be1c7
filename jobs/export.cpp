// bitfall export: archive -> TorchScript, safetensors, a state dict that torch.load reads; through Python
// ONNX and the layout of the paper's authors.
#include "bitfall/errors.hpp"
#include "inputs.hpp"
#include "io/archive/safetensors.hpp"
#include "io/files/file.hpp"
#include "kept.hpp"
#include "output_path.hpp"
#include "run_python.hpp"
#include "src/model/state_dict.hpp"

namespace bitfall {

namespace {

struct ExportOptions {
  std::string archive, output, model, format = "torchscript", input = "3x224x224";
};

void write_export(const ExportOptions& options, const Network& network) {
  if (options.format == "torchscript") {
    write_file_atomically(options.output, network.save());
  } else if (options.format == "state-dict") {
    write_file_atomically(options.output, save_state_dict(network));
  } else {
    write_safetensors(options.output, collect_kept(network, {}), {{"format", "pt"}});
  }
}

/// By python/bitfall_export.py, which reads the archive itself.
bool needs_python(const std::string& format) {
  return format == "onnx" || format == "kill-the-bits";
}

void export_by_python(const ExportOptions& options) {
  std::vector<std::string> arguments = {options.format, options.archive, options.output};
  if (options.format == "onnx") arguments.push_back(options.input);
  run_python("bitfall_export.py", arguments);
}

void run_export(const ExportOptions& options, JobContext& context) {
  const ClaimedOutput claim = claim_output(options.output, context.communicator);
  const LoadedNetwork loaded = load_network(options.archive, context.communicator, options.model);
  if (!loaded.archive) throw DataError(options.archive + " is not a bitfall archive");
  context.communicator.guarded("writing " + options.output, [&] {
    if (!context.communicator.is_root()) return;
    if (needs_python(options.format)) return export_by_python(options);
    write_export(options, loaded.network);
  });
  context.reporter.result({{"output", options.output}, {"format", options.format}},
                          "wrote " + options.output + " (" + options.format + ")");
}

}  // namespace

JobEntry register_export(CLI::App& app, CommonOptions& common) {
  auto options = std::make_shared<ExportOptions>();
  CLI::App* job = app.add_subcommand("export", "decode an archive into an ordinary network file");
  job->add_option("archive", options->archive, "archive")->required();
  job->add_option("-o,--output", options->output, "file to write")->required();
  job->add_option(
         "--format", options->format,
         "torchscript, safetensors, state-dict (torch.load); with Python's torch: onnx, kill-the-bits "
         "(the authors' .pth)")
      ->check(CLI::IsMember({"torchscript", "safetensors", "state-dict", "onnx", "kill-the-bits"}))
      ->capture_default_str();
  job->add_option("--input", options->input, "of onnx: the shape of an image, channels x height x width")
      ->capture_default_str();
  add_model_option(*job, options->model);
  add_common_options(*job, common);
  return {job, [options](JobContext& context) { run_export(*options, context); }};
}

}  // namespace bitfall
