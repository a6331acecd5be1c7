// bitfall import: released files of the paper's authors and of PQF's -> archive.
#include <optional>

#include "bitfall/archive.hpp"
#include "bitfall/errors.hpp"
#include "codebook_option.hpp"
#include "import_authors.hpp"
#include "inputs.hpp"
#include "kept.hpp"
#include "output_path.hpp"
#include "provenance.hpp"

namespace bitfall {

namespace {

struct ImportOptions {
  std::string file, model, output, kept = "exact";
  bool no_embedded_model = false;
  std::optional<CodebookType> codebook;
};

void run_import(const ImportOptions& options, JobContext& context) {
  const ClaimedOutput claim = claim_output(options.output, context.communicator);
  LoadedNetwork loaded = load_network(options.model, context.communicator);
  if (loaded.archive)
    throw DataError(options.model + " is an archive; --model takes the network's TorchScript");
  const std::string provenance = provenance_json(context, options.model, "");
  Archive archive;
  ArchiveBytes bytes;
  context.communicator.guarded("importing " + options.file, [&] {
    if (!context.communicator.is_root()) return;
    archive = import_authors(options.file, loaded.network);
    if (options.codebook) convert_codebooks(archive.layers, *options.codebook);
    const KeptPrecision precision = kept_precision_from_string(options.kept);
    if (precision != KeptPrecision::exact)
      archive.kept = collect_kept(loaded.network, archive.layers, precision);
    if (!options.no_embedded_model) archive.model = loaded.network.save_without_weights();
    archive.provenance_json = provenance;
    bytes = write_archive(archive, options.output);
  });
  const nlohmann::json fields = {{"archive", options.output},
                                 {"content_sha256", archive.content_sha256},
                                 {"bytes", bytes.file},
                                 {"layers", archive.layers.size()}};
  context.reporter.result(fields, "wrote " + options.output + " with " +
                                      std::to_string(archive.layers.size()) + " quantized layers");
}

}  // namespace

JobEntry register_import(CLI::App& app, CommonOptions& common) {
  auto options = std::make_shared<ImportOptions>();
  CLI::App* job = app.add_subcommand(
      "import", "turn a released file of the paper's authors or of PQF's (.pth) into an archive");
  job->add_option("file", options->file, ".pth file, for example resnet18_small_blocks.pth")->required();
  job->add_option("--model", options->model, "TorchScript of the network that it belongs to")->required();
  job->add_option("-o,--output", options->output, "the archive to write")->required();
  add_codebook_option(*job, options->codebook, "default: as in the file, fp16");
  job->add_option("--kept", options->kept,
                  "how unquantized tensors are stored: exact (fp16 where nothing is lost), fp16 or folded")
      ->check(CLI::IsMember({"exact", "fp16", "folded"}))
      ->capture_default_str();
  add_no_model_option(*job, options->no_embedded_model);
  add_common_options(*job, common);
  return {job, [options](JobContext& context) { run_import(*options, context); }};
}

}  // namespace bitfall
