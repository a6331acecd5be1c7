// Checkpoints: the file as `--resume auto` finds it. The first byte chooses what the rest is: an HDF5 image
// (sealed first), or the state inside a sound file.
#include <cstdint>
#include <string>

#include "bitfall/archive.hpp"
#include "bitfall/errors.hpp"
#include "io/archive/seal.hpp"
#include "jobs/checkpoint.hpp"
#include "scratch.hpp"

using namespace bitfall;

namespace {

struct Job {
  fuzz::ScratchFolder folder;
  CommonOptions options;
  Communicator communicator = Communicator::self();
  Reporter reporter{false, "", false};
  JobContext context{options, communicator, reporter, 1};
};

void load(Job& job, const std::string& path) {
  RunFile run_file(path, {{"job", "fuzz"}, {"seed", 7}}, job.context);
  for (const std::string& resume : {std::string("auto"), path}) {
    try {
      (void)run_file.load(resume);
    } catch (const InternalError& error) {
      fuzz::fail(error.what());
    } catch (const Error& error) {
      fuzz::require_named(error.what(), "a.run");
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Job job;
  if (size == 0) return 0;
  const std::string rest(fuzz::as_text(data + 1, size - 1));
  if (data[0] % 2 == 0) {
    load(job, job.folder.write("a.run", rest + make_seal(rest)));
    return 0;
  }
  Archive archive;
  archive.plan_json = rest;
  archive.provenance_json = "{}";
  const std::string path = job.folder / "a.run";
  write_archive(archive, path);
  load(job, path);
  return 0;
}
