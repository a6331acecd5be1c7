#include "parallel/stall_watch.hpp"

#include <algorithm>
#include <atomic>
#include <string>
#include <string_view>
#include <utility>

namespace bitfall {
namespace {

std::atomic<StallWatch*> watch_of_this_process = nullptr;

}  // namespace

StallWatch* StallWatch::current() {
  return watch_of_this_process;
}

void StallWatch::set_current(StallWatch* watch) {
  watch_of_this_process = watch;
}

void StallWatch::enter(const char* call) {
  const std::lock_guard lock(mutex_);
  ++collectives_;
  call_ = call;
}

void StallWatch::leave() {
  const std::lock_guard lock(mutex_);
  call_ = nullptr;
}

std::string StallWatch::begin_work(std::string_view what) {
  const std::lock_guard lock(mutex_);
  return std::exchange(work_, std::string(what));
}

StallWatch::State StallWatch::state() const {
  const std::lock_guard lock(mutex_);
  State state{collectives_, call_ != nullptr, work_};
  if (call_ != nullptr) state.place += (work_.empty() ? "" : ", ") + std::string(call_);
  return state;
}

void StallClock::advance(const StallWatch::State& state, double now, double cpu, double tick_seconds) {
  // Less than this share of a core is no work, only the watchdog itself.
  constexpr double least_load = 0.02;
  const double real = now - now_;
  // After a stop of the whole process `real` is long, and says nothing about the main thread.
  const double counted = std::min(real, 3 * tick_seconds);
  const bool same = started_ && state.collectives == collectives_;
  waited_ = same && state.waiting ? waited_ + counted : 0;
  idle_ = same && !state.waiting && cpu - cpu_ < least_load * real ? idle_ + counted : 0;
  started_ = true;
  collectives_ = state.collectives;
  now_ = now;
  cpu_ = cpu;
}

}  // namespace bitfall
