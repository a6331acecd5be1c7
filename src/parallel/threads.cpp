#include "parallel/threads.hpp"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <limits>
#include <mutex>

#include "bitfall/errors.hpp"

namespace bitfall {
namespace {

/// The exception of the lowest index seen so far.
class FirstFailure {
 public:
  void record(std::int64_t index) {
    const std::lock_guard lock(mutex_);
    if (index < index_) {
      index_ = index;
      exception_ = std::current_exception();
    }
    any_ = true;
  }
  [[nodiscard]] bool any() const { return any_; }
  void rethrow() const {
    if (exception_) std::rethrow_exception(exception_);
  }

 private:
  std::mutex mutex_;
  std::atomic<bool> any_ = false;
  std::int64_t index_ = std::numeric_limits<std::int64_t>::max();
  std::exception_ptr exception_;
};

}  // namespace

void parallel_for_workers(std::int64_t count, int threads,
                          const std::function<void(std::int64_t, int)>& work) {
  BITFALL_ASSERT(count >= 0 && threads >= 1, "parallel_for");
  const int team = static_cast<int>(std::min<std::int64_t>(threads, std::max<std::int64_t>(count, 1)));
  // A counter of our own: schedule(dynamic) need not hand out indices in ascending order (OpenMP 5.0, 2.9.2),
  // and "the lowest failing index" rests on that.
  std::atomic<std::int64_t> next = 0;
  FirstFailure failure;
#pragma omp parallel num_threads(team)
  {
    const int worker = omp_get_thread_num();
    while (!failure.any()) {
      const std::int64_t index = next.fetch_add(1, std::memory_order_relaxed);
      if (index >= count) break;
      try {
        work(index, worker);
      } catch (...) {
        failure.record(index);  // an exception must not leave the region
      }
    }
  }
  failure.rethrow();
}

void parallel_for(std::int64_t count, int threads, const std::function<void(std::int64_t)>& work) {
  parallel_for_workers(count, threads, [&work](std::int64_t index, int) { work(index); });
}

}  // namespace bitfall
