#include <omp.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "bitfall/errors.hpp"
#include "catch.hpp"
#include "parallel/threads.hpp"

using bitfall::parallel_for;
using bitfall::parallel_for_workers;

TEST_CASE("every index is called exactly once") {
  for (const std::int64_t count : {0, 1, 2, 7, 1000}) {
    for (const int threads : {1, 2, 3, 8}) {
      std::vector<std::atomic<int>> calls(static_cast<std::size_t>(count));
      parallel_for(count, threads, [&](std::int64_t index) { ++calls[static_cast<std::size_t>(index)]; });
      for (const auto& call : calls) REQUIRE(call == 1);
    }
  }
}

TEST_CASE("workers are numbered below the thread count and run side by side") {
  std::mutex mutex;
  std::set<int> seen;
  std::atomic<int> waiting = 0;
  parallel_for_workers(3, 3, [&](std::int64_t, int worker) {
    ++waiting;
    while (waiting < 3) {
    }  // passes only when three threads are here together
    const std::lock_guard lock(mutex);
    seen.insert(worker);
  });
  REQUIRE(seen == std::set<int>{0, 1, 2});
}

TEST_CASE("the exception of the lowest failing index comes out, whatever the number of threads") {
  for (const int threads : {1, 2, 3, 8}) {
    for (int repetition = 0; repetition < 50; ++repetition) {
      try {
        parallel_for(200, threads, [](std::int64_t index) {
          if (index % 7 == 5) throw bitfall::DataError("index " + std::to_string(index));
        });
        FAIL("no exception");
      } catch (const bitfall::DataError& error) {
        REQUIRE(std::string(error.what()) == "index 5");
      }
    }
  }
}

TEST_CASE("the lowest index wins when it fails last") {
  std::atomic<bool> high_failed = false;
  try {
    parallel_for(2, 2, [&](std::int64_t index) {
      if (index == 1) {
        high_failed = true;
        throw std::runtime_error("high");
      }
      while (!high_failed) {
      }
      throw std::runtime_error("low");
    });
    FAIL("no exception");
  } catch (const std::runtime_error& error) {
    REQUIRE(std::string(error.what()) == "low");
  }
}

TEST_CASE("parallel regions inside the work run on one thread") {
  std::atomic<int> largest = 0;
  parallel_for(4, 2, [&](std::int64_t) {
#pragma omp parallel
    {
      if (omp_get_num_threads() > largest) largest = omp_get_num_threads();
    }
  });
  REQUIRE(largest == 1);
}

TEST_CASE("a loop with no thread is a bug of ours") {
  REQUIRE_THROWS_AS(parallel_for(3, 0, [](std::int64_t) {}), bitfall::InternalError);
}
