#pragma once
/// Memory of batches: large, written as a whole, and wanted again for the next batch.
#include <cstddef>
#include <memory>
#include <mutex>
#include <type_traits>
#include <utility>
#include <vector>

namespace bitfall {

/// Blocks that were given back, for whoever wants one of the same size: new pages, which the kernel fills
/// with zeros, cost a tenth of what decoding an image does. Thread-safe. Lives as long as the last block that
/// came from it, and never has more than were in use at one time.
class BlockPool {
 public:
  BlockPool() = default;
  ~BlockPool();
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;
  [[nodiscard]] void* take(std::size_t bytes);
  void give(void* block, std::size_t bytes) noexcept;
  [[nodiscard]] std::size_t unused();

 private:
  std::mutex mutex_;
  std::vector<std::pair<void*, std::size_t>> blocks_;  ///< that nobody uses
  std::size_t blocks_in_all_ = 0;                      ///< at most: those in use too
};

/// Takes from a pool, if it has one; new elements of its vectors have no value.
template <class T>
class PixelAllocator {
 public:
  using value_type = T;
  using propagate_on_container_move_assignment = std::true_type;
  using propagate_on_container_swap = std::true_type;

  PixelAllocator() = default;
  explicit PixelAllocator(std::shared_ptr<BlockPool> pool) : pool_(std::move(pool)) {}
  template <class U>
  PixelAllocator(const PixelAllocator<U>& other) : pool_(other.pool()) {}

  [[nodiscard]] T* allocate(std::size_t count) {
    if (pool_) return static_cast<T*>(pool_->take(count * sizeof(T)));
    return std::allocator<T>().allocate(count);
  }
  void deallocate(T* block, std::size_t count) noexcept {
    if (pool_)
      pool_->give(block, count * sizeof(T));
    else
      std::allocator<T>().deallocate(block, count);
  }
  template <class U, class... Arguments>
  void construct(U* at, Arguments&&... arguments) {
    if constexpr (sizeof...(Arguments) == 0)
      ::new (static_cast<void*>(at)) U;  // not U(): that would be zero
    else
      ::new (static_cast<void*>(at)) U(std::forward<Arguments>(arguments)...);
  }

  [[nodiscard]] const std::shared_ptr<BlockPool>& pool() const { return pool_; }
  bool operator==(const PixelAllocator&) const = default;

 private:
  std::shared_ptr<BlockPool> pool_;
};

using PixelVector = std::vector<float, PixelAllocator<float>>;

}  // namespace bitfall
