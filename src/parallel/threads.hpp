#pragma once
/// Threads of one rank: a loop whose outcome does not depend on how many threads run it.
#include <cstdint>
#include <functional>

namespace bitfall {

/// Calls `work(index)` once for every index in [0, count) on up to `threads` OpenMP threads. Indices are
/// handed out one by one in ascending order, so a loop of unequal pieces balances itself.
///
/// When calls throw, the exception of the lowest throwing index is rethrown after all threads have stopped;
/// that index does not depend on `threads`, because every lower one has been called before. Higher indices
/// may or may not have been called. Parallel regions inside `work` (ours or a library's) run on one thread.
///
/// OpenMP and not std::thread: LibTorch, MKL and oneDNN look at omp_in_parallel() to decide whether they may
/// use threads of their own, and the process has one OpenMP run-time for all of them.
void parallel_for(std::int64_t count, int threads, const std::function<void(std::int64_t index)>& work);

/// The same with the number of the calling thread, 0 <= worker < threads, for buffers kept per thread. What
/// lands in which buffer is not reproducible: combine them only by exact sums.
void parallel_for_workers(std::int64_t count, int threads,
                          const std::function<void(std::int64_t index, int worker)>& work);

}  // namespace bitfall
