#pragma once
/// What the benches have in common: time of the calling thread's processor, and medians. Processor time,
/// because other work on a shared machine delays a program without costing it processor time.
#include <time.h>

#include <algorithm>
#include <cstddef>
#include <vector>

namespace bitfall::bench {

inline double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

inline double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

}  // namespace bitfall::bench
