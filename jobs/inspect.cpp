// bitfall inspect and bitfall verify: what an archive holds, and whether it is whole.
#include <optional>

#include "bitfall/archive.hpp"
#include "io/archive/describe.hpp"
#include "job.hpp"

namespace bitfall {

namespace {

/// read_archive checks every range and hash, so an archive that it returns is whole.
Archive read_checked(const std::string& path, JobContext& context, ArchiveBytes& bytes) {
  Archive archive;
  context.communicator.guarded("reading " + path, [&] {
    if (!context.communicator.is_root()) return;
    archive = read_archive(path);
    bytes = archive_bytes(path);
  });
  return archive;
}

void run_inspect(const std::string& path, JobContext& context) {
  ArchiveBytes bytes;
  const Archive archive = read_checked(path, context, bytes);
  if (!context.communicator.is_root()) return;
  context.reporter.result(nlohmann::json::parse(describe_json(archive, bytes)),
                          describe_table(archive, bytes));
}

void run_verify(const std::string& path, JobContext& context) {
  ArchiveBytes bytes;
  const Archive archive = read_checked(path, context, bytes);
  const nlohmann::json fields = {{"archive", path},
                                 {"content_sha256", archive.content_sha256},
                                 {"bytes", bytes.file},
                                 {"layers", archive.layers.size()},
                                 {"kept_tensors", archive.kept.size()}};
  context.reporter.result(fields, path + ": whole, " + std::to_string(archive.layers.size()) +
                                      " layers, content sha256 " + archive.content_sha256);
}

}  // namespace

JobEntry register_inspect(CLI::App& app, CommonOptions& common) {
  auto path = std::make_shared<std::string>();
  CLI::App* job = app.add_subcommand("inspect", "show what an archive holds");
  job->add_option("archive", *path, "archive")->required();
  add_common_options(*job, common);
  return {job, [path](JobContext& context) { run_inspect(*path, context); }};
}

JobEntry register_verify(CLI::App& app, CommonOptions& common) {
  auto path = std::make_shared<std::string>();
  CLI::App* job = app.add_subcommand("verify", "check every range and hash of an archive");
  job->add_option("archive", *path, "archive")->required();
  add_common_options(*job, common);
  return {job, [path](JobContext& context) { run_verify(*path, context); }};
}

}  // namespace bitfall
