#include "emulation/shared_memory.hpp"

namespace bitfall::emulation {
namespace {
constexpr std::int64_t cell_bytes = 4;
}

void SharedMemory::reset(std::int64_t bytes) {
  bytes_.assign(static_cast<std::size_t>(bytes), 0xFF);
  cells_.assign(static_cast<std::size_t>((bytes + cell_bytes - 1) / cell_bytes), Cell{});
}

void SharedMemory::require(std::int64_t first, std::int64_t bytes) const {
  if (first < 0 || bytes < 0 || first + bytes > static_cast<std::int64_t>(bytes_.size()))
    throw KernelError("a shared array ends at byte " + std::to_string(first + bytes) + " of the block's " +
                      std::to_string(bytes_.size()));
}

bool SharedMemory::ordered(const Access& before) const {
  if (before.epoch < block_.epoch()) return true;
  return before.warp == static_cast<int>(block_.warp()) && before.warp_epoch < block_.warp_epoch();
}

SharedMemory::Access SharedMemory::now(bool atomic) const {
  return {block_.epoch(), block_.warp_epoch(), static_cast<int>(block_.warp() * warp_size + block_.lane()),
          static_cast<int>(block_.warp()), atomic};
}

void SharedMemory::report(const char* what, std::int64_t byte, const Access& other) const {
  const std::string who = other.thread < 0 ? "several threads" : "thread " + std::to_string(other.thread);
  throw KernelError("race: thread " + std::to_string(now(false).thread) + " " + what + " byte " +
                    std::to_string(byte) + " of shared memory, which " + who +
                    " touched since the last barrier");
}

void SharedMemory::read(std::int64_t byte, std::int64_t count) {
  const Access mine = now(false);
  for (std::int64_t cell = byte / cell_bytes; cell * cell_bytes < byte + count; ++cell) {
    auto& [written, read] = cells_[static_cast<std::size_t>(cell)];
    if (written.epoch == 0)
      throw KernelError("thread " + std::to_string(mine.thread) + " reads byte " +
                        std::to_string(cell * cell_bytes) + " of shared memory, which nobody wrote");
    if (written.thread != mine.thread && !ordered(written)) report("reads", byte, written);
    if (read.epoch == mine.epoch && read.thread != mine.thread) {
      read.thread = -1;
      if (read.warp != mine.warp) read.warp = -1;
      read.warp_epoch = mine.warp_epoch;
    } else {
      read = mine;
    }
  }
}

void SharedMemory::write(std::int64_t byte, std::int64_t count, bool atomic) {
  const Access mine = now(atomic);
  for (std::int64_t cell = byte / cell_bytes; cell * cell_bytes < byte + count; ++cell) {
    auto& [written, read] = cells_[static_cast<std::size_t>(cell)];
    if (atomic && written.epoch == 0)
      throw KernelError("an atomic addition to shared memory that nobody wrote");
    const bool both_atomic = atomic && written.atomic;
    if (written.epoch != 0 && written.thread != mine.thread && !both_atomic && !ordered(written))
      report("writes", byte, written);
    if (read.epoch != 0 && read.thread != mine.thread && !ordered(read)) report("writes", byte, read);
    const bool shared_atomic = both_atomic && written.epoch == mine.epoch && written.thread != mine.thread;
    written = mine;
    if (shared_atomic) written.thread = written.warp = -1;
  }
}

}  // namespace bitfall::emulation
