// Every operation of writing an archive fails, lies or is the last one before the power goes: the file is the
// old archive or the new one, whole.
#include <filesystem>
#include <string>

#include "../archive/sample_archive.hpp"
#include "bitfall/archive.hpp"
#include "bitfall/errors.hpp"
#include "catch.hpp"
#include "faulty_disk.hpp"

using namespace bitfall;
using namespace bitfall::test;

namespace {

Archive archive_of(std::uint64_t seed) {
  Archive archive;
  archive.layers.push_back(random_layer("conv", {16, 8, 3, 3}, 9, 16, seed));
  archive.kept.push_back(random_tensor("bn.weight", {64}, seed));
  archive.plan_json = "{}";
  archive.provenance_json = "{}";
  return archive;
}

/// Writes the archive on that disk. False: refused, with an error that names the file.
bool wrote(Disk& disk, Archive& archive, const std::string& path) {
  const DiskOverride here(disk);
  try {
    write_archive(archive, path);
    return true;
  } catch (const IoError& error) {
    CHECK(std::string(error.what()).find(path) != std::string::npos);
    return false;
  }
}

}  // namespace

TEST_CASE("whichever operation of writing an archive fails, the old archive or the whole new one is there") {
  Archive old = archive_of(1);
  Archive fresh = archive_of(2);
  int refused = 0;
  for (const Fault fault : {Fault::refused, Fault::lost, Fault::partial}) {
    for (const Operation operation : all_operations) {
      for (std::int64_t which = 0;; ++which) {
        const TemporaryFolder folder;
        const std::string path = folder / "a.h5";
        write_archive(old, path);
        FaultyDisk disk(operation, which, fault);
        const bool done = wrote(disk, fresh, path);
        if (!disk.happened()) {
          CHECK(done);
          break;
        }
        INFO(name_of(operation) << ' ' << which << ", fault " << static_cast<int>(fault));
        const std::string found = read_archive(path).content_sha256;
        const bool is_new = found == fresh.content_sha256;
        CHECK((is_new || found == old.content_sha256));
        // Only a disk that loses the renaming itself is believed when it should not be.
        if (done && !(operation == Operation::rename && fault == Fault::lost)) CHECK(is_new);
        if (!done) ++refused;
        // What is refused leaves nothing beside it.
        if (!done && operation != Operation::remove)
          CHECK(folder.names() == std::vector<std::string>{"a.h5"});
      }
    }
  }
  CHECK(refused >=
        9);  // open, each of two writes, sync, close, permissions, rename, folder; and what was lost
}

TEST_CASE(
    "wherever the power is cut while an archive is written, the old one or the whole new one is there") {
  Archive old = archive_of(1);
  Archive fresh = archive_of(2);
  for (std::int64_t operations = 0;; ++operations) {
    const TemporaryFolder folder;
    const std::string path = folder / "a.h5";
    write_archive(old, path);
    PowerCutDisk disk(operations);
    disk.know(path);
    const bool done = wrote(disk, fresh, path);
    for (const PowerCutDisk::Files& files : disk.survivors()) {
      PowerCutDisk::restore(files, folder.path());
      INFO("after " << operations << " operations");
      const std::string found = read_archive(path).content_sha256;
      // Once write_archive has returned, no power cut takes the new one away.
      if (done)
        CHECK(found == fresh.content_sha256);
      else
        CHECK((found == fresh.content_sha256 || found == old.content_sha256));
    }
    if (!disk.is_cut()) {
      CHECK(done);
      break;
    }
  }
}
