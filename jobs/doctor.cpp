// bitfall doctor: what was found on this machine, and whether it can be relied on.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "bitfall/errors.hpp"
#include "job.hpp"
#include "library_versions.hpp"
#include "runtime.hpp"
#include "src/cuda/device_report.hpp"
#include "version.hpp"

namespace bitfall {

namespace {

/// Whether a lock that one process holds is seen by another is what HDF5 relies on; here: can a file in
/// `folder` be created, locked, synced and removed at all.
std::string check_folder(const std::string& folder) {
  const std::string path = folder + "/.bitfall-doctor-" + std::to_string(getpid());
  const int descriptor = open(path.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
  if (descriptor < 0) return std::string("cannot create a file: ") + std::strerror(errno);
  struct flock lock {};
  lock.l_type = F_WRLCK;
  std::string outcome = "ok";
  if (fcntl(descriptor, F_SETLK, &lock) != 0)
    outcome = std::string("no file locking: ") + std::strerror(errno);
  if (fsync(descriptor) != 0) outcome = std::string("fsync fails: ") + std::strerror(errno);
  close(descriptor);
  unlink(path.c_str());
  return outcome;
}

/// 1 + 2 + ... + size, from an all-reduce: the ranks reach each other.
bool collectives_work(const Communicator& communicator) {
  std::int64_t sum = communicator.rank() + 1;
  communicator.sum(std::span(&sum, 1));
  const std::int64_t size = communicator.size();
  return sum == size * (size + 1) / 2;
}

std::string join_table(const nlohmann::json& fields) {
  std::string text;
  for (const auto& [key, value] : fields.items()) {
    const std::string shown = value.is_string() ? value.get<std::string>() : value.dump();
    text += key + std::string(key.size() < 18 ? 18 - key.size() : 1, ' ') + shown + "\n";
  }
  return text;
}

void run_doctor(const std::string& folder, JobContext& context) {
  const DeviceReport devices = report_devices();
  const auto hosts = context.communicator.all_gather(host_name());
  const auto threads = context.communicator.all_gather(std::to_string(context.threads));
  nlohmann::json fields = {{"bitfall", version_text()}, {"ranks", context.communicator.size()}};
  for (int rank = 0; rank < context.communicator.size(); ++rank) {
    const auto slot = static_cast<std::size_t>(rank);
    fields["rank_" + std::to_string(rank)] = hosts[slot] + ", " + threads[slot] + " threads";
  }
  fields["mpi_collectives"] = collectives_work(context.communicator) ? "ok" : "wrong sum";
  for (const auto& [name, version] : library_versions()) fields[name] = version;
  for (const auto& [name, value] : describe(devices)) fields[name] = value;
  std::string locking;
  context.communicator.guarded("checking " + folder, [&] {
    if (!std::filesystem::is_directory(folder)) throw MissingInputError("'" + folder + "' is no folder");
    locking = check_folder(folder);
  });
  fields["file_locking"] = locking;
  fields["folder"] = std::filesystem::absolute(folder).string();
  context.reporter.result(fields, join_table(fields));
}

}  // namespace

JobEntry register_doctor(CLI::App& app, CommonOptions& common) {
  auto folder = std::make_shared<std::string>(".");
  CLI::App* job = app.add_subcommand(
      "doctor", "report what was found: MPI, threads, HDF5, LibTorch, CUDA, NCCL, locking");
  job->add_option("--folder", *folder, "a folder to check for file locking and fsync")->capture_default_str();
  add_common_options(*job, common);
  return {job, [folder](JobContext& context) { run_doctor(*folder, context); }};
}

}  // namespace bitfall
