#pragma once
/// Ends a job of which a rank has stopped taking part.
#include <functional>
#include <memory>
#include <string>

#include "bitfall/communicator.hpp"
#include "parallel/stall_watch.hpp"

namespace bitfall {

/// A thread of every rank. When the main thread has waited `timeout_seconds` in one collective, the thread
/// asks all other ranks' threads how they are. The job is stalled when
///  - a rank does not answer: it is stopped, swapped out, dead or cut off; or
///  - a rank is outside of collectives and has used no processor for `timeout_seconds`: its main thread
///  hangs,
///    for example on a file system; or
///  - all ranks wait, each for `timeout_seconds`: the network hangs, or they wait for different things.
/// A rank that computes is not stalled, however long it takes. Then the lowest waiting rank calls `on_stall`
/// with a sentence that names the rank, its host and the work, from its watchdog's thread; should it fail to
/// end the job, the other waiting ranks do.
class StallWatchdog {
 public:
  using OnStall = std::function<void(const std::string& message)>;

  /// Collective. Without MPI_THREAD_MULTIPLE, on one rank, or with a timeout of 0 nothing is watched.
  StallWatchdog(const Communicator& world, double timeout_seconds, OnStall on_stall);
  /// Collective.
  ~StallWatchdog();
  StallWatchdog(const StallWatchdog&) = delete;
  StallWatchdog& operator=(const StallWatchdog&) = delete;

 private:
  class Thread;
  std::unique_ptr<StallWatch> watch_;  ///< of the whole process while this lives
  std::unique_ptr<Thread> thread_;     ///< null: nothing is watched
};

}  // namespace bitfall
