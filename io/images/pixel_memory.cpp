#include "bitfall/pixel_memory.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <new>

namespace bitfall {

namespace {

constexpr std::size_t kHugePage = std::size_t{1} << 21;

/// Small blocks lie on cache lines, large ones on huge pages: with pages of 4 KiB, page faults cost a tenth
/// of what decoding does.
std::align_val_t alignment(std::size_t bytes) {
  return std::align_val_t{bytes >= kHugePage ? kHugePage : std::size_t{64}};
}

}  // namespace

BlockPool::~BlockPool() {
  for (const auto& [block, bytes] : blocks_) ::operator delete(block, alignment(bytes));
}

void* BlockPool::take(std::size_t bytes) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = std::ranges::find(blocks_, bytes, &std::pair<void*, std::size_t>::second);
    if (found != blocks_.end()) {
      void* block = found->first;
      blocks_.erase(found);
      return block;
    }
    if (!blocks_.empty()) {  // of other sizes: one makes room, or images of many sizes would pile up
      ::operator delete(blocks_.back().first, alignment(blocks_.back().second));
      blocks_.pop_back();
      --blocks_in_all_;
    }
    blocks_.reserve(++blocks_in_all_);  // so that giving it back can't fail
  }
  void* block = ::operator new(bytes, alignment(bytes));
  // Advice only, so its failure is no error.
  if (bytes >= kHugePage) madvise(block, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
  return block;
}

std::size_t BlockPool::unused() {
  const std::lock_guard lock(mutex_);
  return blocks_.size();
}

void BlockPool::give(void* block, std::size_t bytes) noexcept {
  const std::lock_guard lock(mutex_);
  blocks_.emplace_back(block, bytes);
}

}  // namespace bitfall
