// The watchdog calls a job stalled when a rank is stopped or hangs, and only then.
#include <mpi.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "bitfall/communicator.hpp"
#include "catch.hpp"
#include "parallel/stall_watchdog.hpp"

using namespace bitfall;

namespace {

/// While it is set, whoever looks for messages on this rank does so without an end.
std::atomic<bool> looking_never_ends = false;

}  // namespace

/// MPI's, which finds another way to hang on demand (the profiling interface: MPI 3.1, 14.2).
extern "C" int MPI_Iprobe(int source, int tag, MPI_Comm comm, int* flag, MPI_Status* status) {
  while (looking_never_ends) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return PMPI_Iprobe(source, tag, comm, flag, status);
}

namespace {

using namespace std::chrono_literals;

/// Timeouts of a busy test machine: what must not be called stalled answers far sooner.
constexpr double timeout_seconds = 1;

/// What the watchdogs of this rank have said.
class Said {
 public:
  void operator()(const std::string& message) {
    const std::lock_guard lock(mutex_);
    text_ = message;
  }
  [[nodiscard]] std::string text() const {
    const std::lock_guard lock(mutex_);
    return text_;
  }

 private:
  mutable std::mutex mutex_;
  std::string text_;
};

/// `work` on the last rank while the others wait for it in guarded work; what all ranks' watchdogs said.
std::string said_while(const std::function<void()>& work) {
  const Communicator world = Communicator::world();
  Said said;
  {
    const StallWatchdog watchdog(world, timeout_seconds, [&](const std::string& message) { said(message); });
    world.guarded("the test's work", [&] {
      if (world.rank() == world.size() - 1) work();
    });
    world.barrier();
  }
  std::string all;
  for (const std::string& text : world.all_gather(said.text())) all += text;
  return all;
}

void compute_for(std::chrono::duration<double> time) {
  const auto end = std::chrono::steady_clock::now() + time;
  std::atomic<std::int64_t> sum = 0;
  while (std::chrono::steady_clock::now() < end) sum += 1;
}

/// Stops this process; a child lets it go on.
void be_stopped_for(std::chrono::duration<double> time) {
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child == 0) {
    ::kill(parent, SIGSTOP);
    ::usleep(static_cast<useconds_t>(1e6 * time.count()));
    ::kill(parent, SIGCONT);
    ::_exit(0);
  }
  ::waitpid(child, nullptr, 0);
}

}  // namespace

TEST_CASE("a rank that hangs is named, with its host and its work") {
  const int size = Communicator::world().size();
  const std::string text = said_while([] { std::this_thread::sleep_for(4s); });
  INFO(text);
  if (size == 1) {
    CHECK(text.empty());
    return;
  }
  CHECK(text.find("rank " + std::to_string(size - 1) + " on ") != std::string::npos);
  CHECK(text.find("hangs: no work for ") != std::string::npos);
  CHECK(text.find("the test's work") != std::string::npos);
}

TEST_CASE("a rank that is stopped is named") {
  const int size = Communicator::world().size();
  const std::string text = said_while([] { be_stopped_for(5s); });
  INFO(text);
  if (size == 1)
    CHECK(text.empty());
  else
    CHECK(text.find("no answer from rank " + std::to_string(size - 1)) != std::string::npos);
}

TEST_CASE("a rank that computes is not stalled, however long the others wait") {
  CHECK(said_while([] { compute_for(4s); }).empty());
}

TEST_CASE("ranks that work together, fast or slowly, are not stalled") {
  const Communicator world = Communicator::world();
  Said said;
  {
    const StallWatchdog watchdog(world, 0.4, [&](const std::string& message) { said(message); });
    for (std::int64_t i = 0; i < 3000; ++i) {
      std::int64_t sum = i;
      world.sum(std::span(&sum, 1));
      REQUIRE(sum == i * world.size());
    }
    compute_for(1s);
    world.barrier();
  }
  CHECK(said.text().empty());
}

TEST_CASE("a rank whose looking for messages has no end says so itself") {
  const Communicator world = Communicator::world();
  const std::string said = said_while([] {
    looking_never_ends = true;
    // Longer than its patience: the timeout and half of it, at least half a second.
    std::this_thread::sleep_for(std::chrono::duration<double>(4 * timeout_seconds));
    looking_never_ends = false;
  });
  INFO(said);
  CHECK(said.find("has looked for messages for") != std::string::npos);
  CHECK(said.find("rank " + std::to_string(world.size() - 1) + " on ") != std::string::npos);
}
