// Every operation of saving a checkpoint fails, lies or is the last one before the power goes: the newest
// checkpoint that was saved can be loaded.
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "../archive/sample_archive.hpp"
#include "bitfall/errors.hpp"
#include "catch.hpp"
#include "faulty_disk.hpp"
#include "io/files/file.hpp"
#include "jobs/checkpoint.hpp"

using namespace bitfall;
using namespace bitfall::test;

namespace {

struct Job {
  CommonOptions options;
  Communicator communicator = Communicator::self();
  Reporter reporter{false, "", false};
  JobContext context{options, communicator, reporter, 1};

  [[nodiscard]] RunFile run_file(const std::string& path) { return {path, {{"job", "test"}}, context}; }
  [[nodiscard]] std::int64_t newest(const std::string& path) {
    const std::optional<Checkpoint> found = run_file(path).load("auto");
    return found ? found->progress.at("iteration").get<std::int64_t>() : 0;
  }
};

Checkpoint state(std::int64_t number) {
  Checkpoint checkpoint{"layers", {{"iteration", number}}, {}, {}};
  checkpoint.layers.push_back(random_layer("conv", {8, 4, 3, 3}, 9, 4, static_cast<std::uint64_t>(number)));
  return checkpoint;
}

/// Saves checkpoints first, first + 1, ..., last; returns the last one that was saved without an error.
std::int64_t save(RunFile& file, std::int64_t first, std::int64_t last) {
  for (std::int64_t number = first; number <= last; ++number) {
    try {
      file.save(state(number));
    } catch (const IoError& error) {
      CHECK(std::string(error.what()).find("a.run") != std::string::npos);
      return number - 1;
    }
  }
  return last;
}

}  // namespace

TEST_CASE("wherever the power is cut, the last checkpoint that was saved can be loaded") {
  Job job;
  int cuts = 0;
  for (std::int64_t operations = 0;; ++operations) {
    const TemporaryFolder folder;
    const std::string path = folder / "a.run";
    PowerCutDisk disk(operations);
    std::int64_t saved = 0;
    {
      const DiskOverride here(disk);
      RunFile file = job.run_file(path);
      saved = save(file, 1, 4);
    }
    for (const PowerCutDisk::Files& files : disk.survivors()) {
      PowerCutDisk::restore(files, folder.path());
      INFO("after " << operations << " operations, " << saved << " saved");
      const std::int64_t found = job.newest(path);
      CHECK(found >= saved);
      CHECK(found <= saved + 1);
      // And the run that goes on saves and loads as ever.
      RunFile again = job.run_file(path);
      (void)again.load("auto");
      again.save(state(9));
      CHECK(job.newest(path) == 9);
      ++cuts;
    }
    if (!disk.is_cut()) {
      CHECK(saved == 4);
      break;
    }
  }
  CHECK(cuts > 100);
}

TEST_CASE("whichever operation of saving fails, the checkpoint before or the new one can be loaded") {
  Job job;
  for (const Fault fault : {Fault::refused, Fault::lost, Fault::partial}) {
    for (const Operation operation : all_operations) {
      for (std::int64_t which = 0;; ++which) {
        const TemporaryFolder folder;
        const std::string path = folder / "a.run";
        RunFile file = job.run_file(path);
        REQUIRE(save(file, 1, 2) == 2);
        FaultyDisk disk(operation, which, fault);
        std::int64_t saved = 0;
        {
          const DiskOverride here(disk);
          saved = save(file, 3, 3);
        }
        INFO(name_of(operation) << ' ' << which << ", fault " << static_cast<int>(fault));
        const std::int64_t found = job.newest(path);
        CHECK((found == 2 || found == 3));
        // A disk that claims to have renamed a file and has not can't be seen through; nothing is lost by it.
        if (saved == 3 && !(operation == Operation::rename && fault == Fault::lost)) CHECK(found == 3);
        // The disk works again: the run goes on.
        CHECK(save(file, 4, 5) == 5);
        CHECK(job.newest(path) == 5);
        if (!disk.happened()) {
          CHECK(saved == 3);
          break;
        }
      }
    }
  }
}

TEST_CASE("2,000 random bits and 200 lengths of the newest checkpoint: the one before is used") {
  Job job;
  const TemporaryFolder folder;
  const std::string path = folder / "a.run";
  RunFile file = job.run_file(path);
  REQUIRE(save(file, 1, 2) == 2);
  const std::string sound = read_file(path);
  const auto check = [&](const std::string& damaged) {
    write_bytes(path, damaged);
    CHECK(job.newest(path) == 1);
  };
  std::mt19937_64 random(5);
  for (int i = 0; i < 2000; ++i) {
    std::string damaged = sound;
    const std::size_t bit = random() % (8 * sound.size());
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    check(damaged);
  }
  for (std::size_t i = 0; i < 200; ++i) check(sound.substr(0, i * sound.size() / 200));
}
