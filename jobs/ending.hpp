#pragma once
/// How a job ends when it fails: together.
#include <string>

#include "bitfall/errors.hpp"

namespace bitfall {

/// Errors that matter are agreed on by all ranks (Communicator::guarded). This is the net below: a rank that
/// fails alone, outside guarded work, would leave its peers waiting in a collective for ever.
class Ending {
 public:
  /// Collective; needs a live MpiSession.
  Ending();
  ~Ending();
  Ending(const Ending&) = delete;
  Ending& operator=(const Ending&) = delete;

  /// Called by a rank whose job ended with an error. When all ranks arrive within `patience_seconds`, rank 0
  /// prints the message and the exit code is returned, and SIGTERM is ignored from then on; otherwise this
  /// rank prints it and ends all ranks (MPI_Abort).
  [[nodiscard]] int fail(ExitCode code, const std::string& message, double patience_seconds = 5) const;

 private:
  [[nodiscard]] bool everyone_arrives(double patience_seconds) const;
  struct Handle;
  Handle* handle_;
};

}  // namespace bitfall
