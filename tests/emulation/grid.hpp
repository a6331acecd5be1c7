#pragma once
/// Tests only: the grid that runs now, and the faults that a test injects.
#include <cstdint>
#include <functional>
#include <random>
#include <string>

#include "cuda/device.hpp"
#include "emulation/fibers.hpp"
#include "emulation/shared_memory.hpp"

namespace bitfall::emulation {

struct Index {
  unsigned x = 0, y = 0, z = 0;
};

/// Kernels see their indices through free names, so there is one grid, of one thread of the host at a time.
class Grid {
 public:
  /// Runs all blocks in random order.
  void run(const cuda::LaunchShape& shape, const std::function<void()>& body);
  /// Another order of blocks and threads.
  void set_seed(std::uint64_t seed) { random_.seed(seed); }
  [[nodiscard]] Index thread_index() { return {block.current().index, 0, 0}; }

  Block block;
  SharedMemory shared{block};
  Index block_index, block_size, grid_size;

 private:
  std::mt19937_64 random_{1};
};
[[nodiscard]] Grid& grid();

/// The status of the next call of this name on this rank: 0, or 1 when it is the one that the environment
/// variable BITFALL_EMULATED_FAULT=CALL:RANK:NUMBER names (the first call has number 1).
[[nodiscard]] int call_status(const std::string& call, int rank);
/// The same from a test.
void inject_fault(const std::string& call, int rank, int number);
/// Buffers that were allocated and not released.
[[nodiscard]] std::int64_t live_buffers();

}  // namespace bitfall::emulation
