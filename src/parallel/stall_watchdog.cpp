#include "parallel/stall_watchdog.hpp"

#include <mpi.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <list>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace bitfall {
namespace {

constexpr int question_tag = 1;
constexpr int answer_tag = 2;

/// What travels: a question (only `inquiry` counts) or the answer to it.
struct Answer {
  std::int64_t inquiry = 0;
  double waited_seconds = 0, idle_seconds = 0;
  bool waiting = false;
  std::array<char, 64> host{};
  std::array<char, 160> place{};
};

template <std::size_t size>
void copy_text(std::array<char, size>& to, const std::string& text) {
  std::memcpy(to.data(), text.data(), std::min(text.size(), size - 1));
}

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double cpu_seconds() {
  timespec used{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + 1e-9 * static_cast<double>(used.tv_nsec);
}

std::string rounded(double seconds) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.0f s", seconds);
  return text.data();
}

/// A question that this rank has put to all others.
struct Inquiry {
  double asked_seconds = 0;
  std::vector<std::optional<Answer>> answers;
};

}  // namespace

class StallWatchdog::Thread {
 public:
  Thread(const Communicator& world, StallWatch& watch, double timeout_seconds, OnStall on_stall)
      : watch_(watch),
        timeout_(timeout_seconds),
        tick_(std::clamp(timeout_seconds / 20, 0.02, 1.0)),
        patience_(std::clamp(timeout_seconds / 2, 0.5, 5.0)),
        on_stall_(std::move(on_stall)),
        rank_(world.rank()),
        size_(world.size()) {
    MPI_Comm_dup(MPI_COMM_WORLD, &comm_);
    ::gethostname(host_.data(), host_.size() - 1);
    // Signals are the main thread's.
    sigset_t all{};
    sigset_t before{};
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    guard_ = std::jthread([this](const std::stop_token& stop) { guard(stop); });
    thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  ~Thread() {
    thread_.request_stop();
    changed_.notify_all();
    thread_.join();
    guard_.request_stop();  // it looked on to the end
    guard_.join();
    for (Message& message : sent_) {
      if (message.request != MPI_REQUEST_NULL) MPI_Request_free(&message.request);
    }
    MPI_Comm_free(&comm_);
  }
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;

 private:
  struct Message {
    Answer content;
    MPI_Request request = MPI_REQUEST_NULL;
  };

  void run(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (!stop.stop_requested()) {
      changed_.wait_for(lock, stop, std::chrono::duration<double>(tick_), [] { return false; });
      if (stop.stop_requested()) return;
      const StallWatch::State state = watch_.state();
      clock_.advance(state, steady_seconds(), cpu_seconds(), tick_);
      in_mpi_ = true;
      forget_sent();
      receive(state);
      inquire(state);
      in_mpi_ = false;
      ++rounds_;
    }
  }

  /// A peer that is stopped in the middle of handing over a message through shared memory keeps whoever looks
  /// for messages spinning (one of 130 ranks stopped at random instants; Open MPI 4.1, btl vader): the other
  /// thread too, which then can't ask. Ticks are counted and not seconds, so that a job that was stopped as a
  /// whole goes on.
  void guard(const std::stop_token& stop) {
    std::unique_lock lock(guard_mutex_);
    std::int64_t seen = -1;
    double stuck_seconds = 0;
    while (!stop.stop_requested()) {
      guard_changed_.wait_for(lock, stop, std::chrono::duration<double>(tick_), [] { return false; });
      const std::int64_t now = rounds_;
      stuck_seconds = in_mpi_ && now == seen ? stuck_seconds + tick_ : 0;
      seen = now;
      if (stuck_seconds < timeout_ + patience_) continue;
      on_stall_("rank " + std::to_string(rank_) + " on " + host_.data() + " has looked for messages for " +
                rounded(stuck_seconds) + " without an end at: " + watch_.state().place +
                "; some rank was stopped or died while it sent one");
      stuck_seconds = 0;
    }
  }

  void send(int rank, int tag, const Answer& content) {
    Message& message = sent_.emplace_back(Message{content, MPI_REQUEST_NULL});
    MPI_Isend(&message.content, sizeof(Answer), MPI_BYTE, rank, tag, comm_, &message.request);
  }

  /// A rank that is stopped may never take what was sent to it: its messages stay.
  void forget_sent() {
    std::erase_if(sent_, [](Message& message) {
      int done = 0;
      return MPI_Test(&message.request, &done, MPI_STATUS_IGNORE) == MPI_SUCCESS && done != 0;
    });
  }

  [[nodiscard]] Answer answer(const StallWatch::State& state, std::int64_t inquiry) const {
    Answer own{inquiry, clock_.waited_seconds(), clock_.idle_seconds(), state.waiting, host_, {}};
    copy_text(own.place, state.place);
    return own;
  }

  void receive(const StallWatch::State& state) {
    for (;;) {
      int there = 0;
      MPI_Status status{};
      if (MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, comm_, &there, &status) != MPI_SUCCESS || there == 0)
        return;
      Answer content;
      if (MPI_Recv(&content, sizeof content, MPI_BYTE, status.MPI_SOURCE, status.MPI_TAG, comm_,
                   MPI_STATUS_IGNORE) != MPI_SUCCESS)
        return;
      if (status.MPI_TAG == question_tag)
        send(status.MPI_SOURCE, answer_tag, answer(state, content.inquiry));
      else if (inquiry_ && content.inquiry == inquiries_)
        inquiry_->answers[static_cast<std::size_t>(status.MPI_SOURCE)] = content;
    }
  }

  void inquire(const StallWatch::State& state) {
    if (!state.waiting || clock_.waited_seconds() < timeout_) {
      inquiry_.reset();
      next_ = timeout_;
      return;
    }
    const double now = steady_seconds();
    if (!inquiry_) {
      if (clock_.waited_seconds() < next_) return;
      ++inquiries_;
      inquiry_ = Inquiry{now, std::vector<std::optional<Answer>>(static_cast<std::size_t>(size_))};
      for (int rank = 0; rank < size_; ++rank) {
        if (rank != rank_) send(rank, question_tag, Answer{.inquiry = inquiries_});
      }
    }
    inquiry_->answers[static_cast<std::size_t>(rank_)] = answer(state, inquiries_);
    const bool all = std::all_of(inquiry_->answers.begin(), inquiry_->answers.end(),
                                 [](const auto& given) { return given.has_value(); });
    if (!all && now - inquiry_->asked_seconds < patience_) return;
    judge(now);
  }

  void judge(double now) {
    const std::string message = verdict(inquiry_->answers);
    if (message.empty()) {
      inquiry_.reset();
      next_ = clock_.waited_seconds() + timeout_ / 2;
      return;
    }
    int speaker = rank_;
    for (int rank = rank_ - 1; rank >= 0; --rank) {
      const auto& given = inquiry_->answers[static_cast<std::size_t>(rank)];
      if (given && given->waiting) speaker = rank;
    }
    // The others give the speaker time to end the job.
    if (speaker == rank_ || now - inquiry_->asked_seconds > 3 * patience_) on_stall_(message);
  }

  /// Empty: the job is not stalled.
  [[nodiscard]] std::string verdict(const std::vector<std::optional<Answer>>& answers) const {
    const std::string waited = rounded(clock_.waited_seconds());
    const Answer& own = *answers[static_cast<std::size_t>(rank_)];
    bool all_wait = true;
    std::string silent;
    for (std::size_t rank = 0; rank < answers.size(); ++rank) {
      if (!answers[rank]) silent += (silent.empty() ? "rank " : ", rank ") + std::to_string(rank);
    }
    if (!silent.empty()) {
      return "no answer from " + silent + " (stopped, dead or cut off); rank " + std::to_string(rank_) +
             " on " + host_.data() + " has waited " + waited + " at: " + own.place.data();
    }
    for (std::size_t rank = 0; rank < answers.size(); ++rank) {
      const Answer& given = *answers[rank];
      if (!given.waiting && given.idle_seconds >= timeout_) {
        return "rank " + std::to_string(rank) + " on " + given.host.data() + " hangs: no work for " +
               rounded(given.idle_seconds) + " at: " + given.place.data() + "; rank " +
               std::to_string(rank_) + " has waited " + waited +
               " for it; look at the file systems of that host";
      }
      all_wait = all_wait && given.waiting && given.waited_seconds >= timeout_;
    }
    if (!all_wait) return "";
    std::string text = "all ranks have waited " + waited + " for each other";
    for (std::size_t rank = 0; rank < std::min<std::size_t>(answers.size(), 4); ++rank)
      text +=
          (rank == 0 ? ": rank " : ", rank ") + std::to_string(rank) + " at " + answers[rank]->place.data();
    return text + "; look at the network";
  }

  StallWatch& watch_;
  double timeout_, tick_, patience_;
  OnStall on_stall_;
  int rank_, size_;
  MPI_Comm comm_ = MPI_COMM_NULL;  ///< of its own, so that nothing matches the main thread's messages
  std::array<char, 64> host_{};
  StallClock clock_;
  std::list<Message> sent_;
  std::optional<Inquiry> inquiry_;
  std::int64_t inquiries_ = 0;
  double next_ = 0;  ///< when to ask again, in waited seconds
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::atomic<bool> in_mpi_ = false;
  std::atomic<std::int64_t> rounds_ = 0;
  std::mutex guard_mutex_;
  std::condition_variable_any guard_changed_;
  std::jthread guard_;
  std::jthread thread_;
};

StallWatchdog::StallWatchdog(const Communicator& world, double timeout_seconds, OnStall on_stall)
    : watch_(std::make_unique<StallWatch>()) {
  int level = MPI_THREAD_SINGLE;
  MPI_Query_thread(&level);
  if (world.size() == 1 || timeout_seconds <= 0 || level != MPI_THREAD_MULTIPLE) return;
  thread_ = std::make_unique<Thread>(world, *watch_, timeout_seconds, std::move(on_stall));
  StallWatch::set_current(watch_.get());
}

StallWatchdog::~StallWatchdog() {
  StallWatch::set_current(nullptr);
}

}  // namespace bitfall
