// When a rank counts as waiting or idle: the clock of the watchdog, with times made up.
#include "catch.hpp"
#include "parallel/stall_watch.hpp"

using namespace bitfall;

namespace {

constexpr double tick = 0.5;

/// Advances by `ticks` ticks, each using `load` of a core.
class Time {
 public:
  void pass(StallClock& clock, const StallWatch& watch, int ticks, double load, double each = tick) {
    for (int i = 0; i < ticks; ++i) {
      now_ += each;
      cpu_ += load * each;
      clock.advance(watch.state(), now_, cpu_, tick);
    }
  }

 private:
  double now_ = 1000, cpu_ = 7;
};

}  // namespace

TEST_CASE("waiting is counted inside one collective and begins anew in the next") {
  StallWatch watch;
  StallClock clock;
  Time time;
  watch.enter("MPI_Barrier");
  time.pass(clock, watch, 11, 1);
  CHECK(clock.waited_seconds() == Approx(5));
  CHECK(clock.idle_seconds() == 0);
  watch.leave();
  watch.enter("MPI_Barrier");
  time.pass(clock, watch, 1, 1);
  CHECK(clock.waited_seconds() == 0);
  time.pass(clock, watch, 4, 0);
  CHECK(clock.waited_seconds() == Approx(2));
  watch.leave();
  time.pass(clock, watch, 1, 1);
  CHECK(clock.waited_seconds() == 0);
}

TEST_CASE("outside of collectives only time without work is idle") {
  StallWatch watch;
  StallClock clock;
  Time time;
  time.pass(clock, watch, 9, 0.001);
  CHECK(clock.idle_seconds() == Approx(4));
  CHECK(clock.waited_seconds() == 0);
  time.pass(clock, watch, 1, 0.5);
  CHECK(clock.idle_seconds() == 0);
  time.pass(clock, watch, 2, 0);
  watch.enter("MPI_Bcast");
  time.pass(clock, watch, 1, 0);
  CHECK(clock.idle_seconds() == 0);
}

// scontrol suspend, a laptop's lid: all ranks stop together and go on together.
TEST_CASE("time in which the whole process was stopped does not count") {
  StallWatch watch;
  StallClock clock;
  Time time;
  time.pass(clock, watch, 3, 0);
  time.pass(clock, watch, 1, 0, 3600);
  CHECK(clock.idle_seconds() <= 1 + 3 * tick);
  watch.enter("MPI_Barrier");
  time.pass(clock, watch, 3, 0);
  time.pass(clock, watch, 1, 0, 3600);
  CHECK(clock.waited_seconds() <= 1 + 3 * tick);
}

TEST_CASE("a place is the work and the collective inside it") {
  StallWatch watch;
  CHECK(watch.state().place.empty());
  watch.enter("MPI_Barrier");
  CHECK(watch.state().place == "MPI_Barrier");
  watch.leave();
  CHECK(watch.begin_work("decoding").empty());
  CHECK(watch.state().place == "decoding");
  watch.enter("MPI_Allreduce");
  CHECK(watch.state().place == "decoding, MPI_Allreduce");
  CHECK(watch.state().waiting);
  CHECK(watch.begin_work("") == "decoding");
}

TEST_CASE("without a watch nothing is noted, with one everything is") {
  {
    const AtWork work("nobody looks");
    const InCollective here("MPI_Barrier");
  }
  StallWatch watch;
  StallWatch::set_current(&watch);
  {
    const AtWork outer("outer");
    {
      const AtWork inner("inner");
      const InCollective here("MPI_Barrier");
      CHECK(watch.state().place == "inner, MPI_Barrier");
    }
    CHECK(watch.state().place == "outer");
    CHECK_FALSE(watch.state().waiting);
  }
  StallWatch::set_current(nullptr);
  CHECK(watch.state().place.empty());
  CHECK(watch.state().collectives == 1);
}
