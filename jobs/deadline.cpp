#include "deadline.hpp"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstring>

#include "bitfall/errors.hpp"

namespace bitfall {
namespace {

const char* volatile awaited = "";

/// Only calls that POSIX allows in a signal handler.
void time_is_up(int) {
  const auto say = [](const char* text) { (void)!::write(STDERR_FILENO, text, std::strlen(text)); };
  say("bitfall: waited too long (--stall-timeout) for ");
  say(awaited);
  say("; look for a rank that is stopped or gone\n");
  ::_exit(static_cast<int>(ExitCode::cluster));
}

}  // namespace

Deadline::Deadline(double seconds, const char* what) {
  if (seconds <= 0) return;
  awaited = what;
  std::signal(SIGALRM, time_is_up);
  ::alarm(static_cast<unsigned>(std::ceil(std::min(seconds, 1e9))));
}

Deadline::~Deadline() {
  ::alarm(0);
}

}  // namespace bitfall
