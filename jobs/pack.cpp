// bitfall pack: image folder -> WebDataset shards, dealt to the ranks.
#include <filesystem>
#include <string_view>

#include "bitfall/errors.hpp"
#include "bitfall/images.hpp"
#include "job.hpp"
#include "output_path.hpp"
#include "src/parallel/threads.hpp"

namespace bitfall {

namespace {

/// Whether a file is what this job writes: NAME-0000.tar, NAME-0000.idx, NAME-classes.json.
bool is_of_set(const std::string& name, std::string_view file) {
  if (!file.starts_with(name + "-")) return false;
  file.remove_prefix(name.size() + 1);
  if (file == "classes.json") return true;
  const auto digits = file.find_first_not_of("0123456789");
  return digits != 0 && digits != std::string_view::npos &&
         (file.substr(digits) == ".tar" || file.substr(digits) == ".idx");
}

void run_pack(const PackParameters& given, JobContext& context) {
  PackParameters parameters = given;
  parameters.seed = context.options.seed;
  const std::string name = std::filesystem::path(parameters.prefix).filename();
  const ClaimedOutput claim = claim_output(parameters.prefix + "-0000.tar", context.communicator,
                                           [&](std::string_view stem) { return is_of_set(name, stem); });
  PackPlan plan;
  context.communicator.guarded("reading the folder " + parameters.folder.string(),
                               [&] { plan = plan_pack(parameters); });
  const auto shards = static_cast<std::int64_t>(plan.shards.size());
  std::int64_t images = 0;
  for (const auto& shard : plan.shards) images += static_cast<std::int64_t>(shard.size());
  context.reporter.info("packing " + std::to_string(images) + " images of " +
                        std::to_string(plan.classes.size()) + " classes into " + std::to_string(shards) +
                        " shards");
  const auto mine = context.communicator.share(shards);
  context.communicator.guarded("writing the shards", [&] {
    parallel_for(mine.size(), context.threads,
                 [&](std::int64_t i) { write_shard(parameters, plan, mine.first + i); });
    if (context.communicator.is_root()) write_class_list(parameters, plan);
  });
  const nlohmann::json fields = {{"prefix", parameters.prefix},
                                 {"shards", shards},
                                 {"images", images},
                                 {"classes", plan.classes.size()},
                                 {"seconds", context.reporter.seconds()}};
  context.reporter.result(fields, "wrote " + std::to_string(shards) + " shards with " +
                                      std::to_string(images) + " images: " + parameters.prefix + "-*.tar");
}

}  // namespace

JobEntry register_pack(CLI::App& app, CommonOptions& common) {
  auto parameters = std::make_shared<PackParameters>();
  CLI::App* job =
      app.add_subcommand("pack", "pack FOLDER/CLASS/NAME.jpg, or FOLDER/NAME.jpg, into WebDataset shards");
  job->add_option("folder", parameters->folder,
                  "image folder: one sub-folder for each class, or images alone")
      ->required();
  job->add_option("-o,--output", parameters->prefix, "prefix of the shards: PREFIX-0000.tar, ...")
      ->required();
  job->add_option("--shard-images", parameters->samples_per_shard, "images in a shard")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  job->add_flag("--keep-names", parameters->keep_names,
                "keys are file names, which --annotations of evaluate asks for; not numbers");
  add_common_options(*job, common);
  return {job, [parameters](JobContext& context) { run_pack(*parameters, context); }};
}

}  // namespace bitfall
