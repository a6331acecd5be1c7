// Checkpoints. The first byte chooses what the rest is: an HDF5 image (sealed first) as `--resume auto` or
// `--resume FILE` finds it, or, for most, the state inside a sound file, which needs no disk.
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

const nlohmann::json fingerprint = {{"job", "fuzz"}, {"seed", 7}};

template <class Read>
void require_sound(const Read& read) {
  try {
    read();
  } catch (const InternalError& error) {
    fuzz::fail(error.what());
  } catch (const Error& error) {
    fuzz::require_named(error.what(), "a.run");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Job job;
  if (size == 0) return 0;
  std::string rest(fuzz::as_text(data + 1, size - 1));
  const int choice = data[0] % 64;
  if (choice < 2) {
    const std::string path = job.folder.write("a.run", rest + make_seal(rest));
    RunFile run_file(path, fingerprint, job.context);
    require_sound([&] { (void)run_file.load(choice == 0 ? "auto" : path); });
    return 0;
  }
  Archive archive;
  archive.plan_json = std::move(rest);
  require_sound([&] { (void)decode_checkpoint(std::move(archive), fingerprint, "a.run"); });
  return 0;
}
