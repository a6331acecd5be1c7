#pragma once
/// What the main thread of a rank is doing, for its watchdog to see.
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

namespace bitfall {

/// Written by the main thread around collective calls, read by the watchdog's thread.
class StallWatch {
 public:
  struct State {
    std::int64_t collectives = 0;  ///< entered so far
    bool waiting = false;          ///< inside one
    std::string place;             ///< the guarded work, and the collective while inside one
  };

  void enter(const char* call);
  void leave();
  /// Names the work that follows; empty: none in particular. Returns what was named before.
  std::string begin_work(std::string_view what);
  [[nodiscard]] State state() const;

  /// The process's own: its main thread is one, whichever copies of a Communicator it holds. Null: nobody
  /// watches.
  static StallWatch* current();
  static void set_current(StallWatch* watch);

 private:
  mutable std::mutex mutex_;
  std::int64_t collectives_ = 0;
  const char* call_ = nullptr;  ///< nullptr: outside
  std::string work_;
};

/// The main thread is inside a collective while this lives. Does nothing without a watch.
class InCollective {
 public:
  explicit InCollective(const char* call) : watch_(StallWatch::current()) {
    if (watch_ != nullptr) watch_->enter(call);
  }
  ~InCollective() {
    if (watch_ != nullptr) watch_->leave();
  }
  InCollective(const InCollective&) = delete;
  InCollective& operator=(const InCollective&) = delete;

 private:
  StallWatch* watch_;
};

/// The main thread does `what` while this lives.
class AtWork {
 public:
  explicit AtWork(std::string_view what) : watch_(StallWatch::current()) {
    if (watch_ != nullptr) before_ = watch_->begin_work(what);
  }
  ~AtWork() {
    if (watch_ != nullptr) watch_->begin_work(before_);
  }
  AtWork(const AtWork&) = delete;
  AtWork& operator=(const AtWork&) = delete;

 private:
  StallWatch* watch_;
  std::string before_;
};

/// How long a rank has waited in its collective, or has done nothing outside of one. Only time that passes
/// while the process runs counts: a job that the batch system suspends as a whole and lets go on is not
/// stalled.
class StallClock {
 public:
  /// Called every `tick_seconds`: `now` of a steady clock, `cpu` seconds that the process has used so far.
  void advance(const StallWatch::State& state, double now, double cpu, double tick_seconds);
  [[nodiscard]] double waited_seconds() const { return waited_; }
  [[nodiscard]] double idle_seconds() const { return idle_; }

 private:
  bool started_ = false;
  std::int64_t collectives_ = 0;
  double now_ = 0, cpu_ = 0, waited_ = 0, idle_ = 0;
};

}  // namespace bitfall
