// Stopping on request: signals, time limits, and how durations are written.
#include "stop_request.hpp"

#include <csignal>
#include <thread>

#include "bitfall/errors.hpp"
#include "catch.hpp"

using namespace bitfall;

namespace {

volatile std::sig_atomic_t old_handler_calls = 0;
void old_handler(int) {
  old_handler_calls = old_handler_calls + 1;
}

/// Puts a handler of the test in place, and the one before back.
class Handler {
 public:
  explicit Handler(int signal) : signal_(signal), before_(std::signal(signal, old_handler)) {
    old_handler_calls = 0;
  }
  Handler(const Handler&) = delete;
  Handler& operator=(const Handler&) = delete;
  ~Handler() { std::signal(signal_, before_); }

 private:
  int signal_;
  void (*before_)(int);
};

}  // namespace

TEST_CASE("SIGTERM and SIGUSR2 are remembered while a request lives, then the old handlers are back",
          "[stop]") {
  for (const int signal : {SIGTERM, SIGUSR2}) {
    const Handler handler(signal);
    {
      const StopRequest stop(0);
      CHECK(!stop.here());
      std::raise(signal);
      CHECK(stop.here());
      std::raise(signal);  // a second one does no harm
      CHECK(stop.here());
      CHECK(old_handler_calls == 0);
    }
    std::raise(signal);
    CHECK(old_handler_calls == 1);
    CHECK(!StopRequest(0).here());  // a new one begins anew
  }
}

TEST_CASE("other signals are not touched", "[stop]") {
  const Handler handler(SIGUSR1);
  const StopRequest stop(0);
  std::raise(SIGUSR1);
  CHECK(old_handler_calls == 1);
  CHECK(!stop.here());
}

TEST_CASE("a time limit is a request to stop", "[stop]") {
  const StopRequest none(0), far(3600), near(0.05);
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!near.here() && std::chrono::steady_clock::now() < limit)
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  CHECK(near.here());
  CHECK(!far.here());
  CHECK(!none.here());
}

TEST_CASE("durations are seconds, units, clock times and Slurm's days", "[stop]") {
  CHECK(parse_duration_seconds("0") == 0);
  CHECK(parse_duration_seconds("90") == 90);
  CHECK(parse_duration_seconds("90s") == 90);
  CHECK(parse_duration_seconds("15m") == 900);
  CHECK(parse_duration_seconds("2h") == 7200);
  CHECK(parse_duration_seconds("15:30") == 930);
  CHECK(parse_duration_seconds("01:02:03") == 3723);
  CHECK(parse_duration_seconds("2-01:02:03") == 2 * 86400 + 3723);
  CHECK(parse_duration_seconds("0-01:02:03") == 3723);
}

TEST_CASE("what is no duration is refused with the text and the ways to write one", "[stop]") {
  for (const std::string text : {"",
                                 " ",
                                 "h",
                                 "1.5h",
                                 "1h30m",
                                 "-5",
                                 "+5",
                                 "90 ",
                                 " 90",
                                 "12:",
                                 ":12",
                                 "1:2:3:4",
                                 "1-",
                                 "1-5",
                                 "0-5",
                                 "1-5h",
                                 "0-5h",
                                 "1-2:3",
                                 "0-2:3",
                                 "1-2-3:4:5",
                                 "1:2m",
                                 "five",
                                 "0x10",
                                 "1e3",
                                 "99999999999",
                                 "99999999999999999999999"}) {
    INFO("'" << text << "'");
    try {
      (void)parse_duration_seconds(text);
      FAIL("accepted");
    } catch (const UsageError& error) {
      CHECK(std::string(error.what()).find("'" + text + "'") != std::string::npos);
      CHECK(std::string(error.what()).find("HH:MM:SS") != std::string::npos);
    }
  }
}
