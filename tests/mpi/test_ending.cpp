// A job that fails on all ranks together ends with one code, also where the launcher kills the ranks that
// leave last.
#include <csignal>

#include "catch.hpp"
#include "jobs/ending.hpp"

using namespace bitfall;

TEST_CASE("the launcher's SIGTERM no longer changes the code of a rank that is leaving") {
  std::signal(SIGTERM, SIG_DFL);
  const Ending ending;
  CHECK(ending.fail(ExitCode::preempted, "the message of this test, printed once") == 75);
  std::raise(SIGTERM);  // what srun --kill-on-bad-exit and mpirun send when another rank has left
  SUCCEED("still there");
  std::signal(SIGTERM, SIG_DFL);
}
