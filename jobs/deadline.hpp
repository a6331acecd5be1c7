#pragma once
/// A time limit for what no watchdog can watch: MPI starting and ending.
namespace bitfall {

/// When `seconds` (rounded up; 0: no limit) pass while this lives, the process says so on standard error and
/// ends with exit code 69; the launcher then ends the other ranks. By SIGALRM, so it works while MPI hangs.
/// One at a time.
class Deadline {
 public:
  /// `what`: "MPI to start"; must outlive this.
  Deadline(double seconds, const char* what);
  ~Deadline();
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;
};

}  // namespace bitfall
