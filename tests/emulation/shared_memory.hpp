#pragma once
/// Tests only: a block's shared memory that notices races, reads of what nobody wrote, and accesses out of
/// bounds.
///
/// Two threads race when they touch the same four bytes between two barriers, at least one of them writes,
/// and not both add atomically. Within a warp an exchange or __syncwarp of all lanes orders accesses too.
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include "emulation/fibers.hpp"

namespace bitfall::emulation {

class SharedMemory {
 public:
  explicit SharedMemory(Block& block) : block_(block) {}
  /// Forgets everything; `bytes` are undefined.
  void reset(std::int64_t bytes);
  void require(std::int64_t first, std::int64_t bytes) const;
  /// Notes an access of the current thread. Throws KernelError when it races with another.
  void read(std::int64_t byte, std::int64_t count);
  void write(std::int64_t byte, std::int64_t count, bool atomic);
  [[nodiscard]] unsigned char* bytes() { return bytes_.data(); }

 private:
  /// One access: who, and between which barriers.
  struct Access {
    std::uint32_t epoch = 0, warp_epoch = 0;  ///< epoch 0: never
    int thread = -1;                          ///< -1: several
    int warp = -1;
    bool atomic = false;
  };
  struct Cell {
    Access written, read;
  };
  [[nodiscard]] bool ordered(const Access& before) const;
  [[nodiscard]] Access now(bool atomic) const;
  [[noreturn]] void report(const char* what, std::int64_t byte, const Access& other) const;

  Block& block_;
  std::vector<unsigned char> bytes_;
  std::vector<Cell> cells_;
};

/// One element of shared memory: reading and assigning are noted.
template <class T>
class SharedElement {
 public:
  SharedElement(SharedMemory& memory, std::int64_t byte) : memory_(memory), byte_(byte) {}
  SharedElement(const SharedElement&) = default;
  operator T() const {  // NOLINT: it stands for the element
    memory_.read(byte_, sizeof(T));
    T value;
    std::memcpy(&value, memory_.bytes() + byte_, sizeof(T));
    return value;
  }
  SharedElement& operator=(const T& value) {
    memory_.write(byte_, sizeof(T), false);
    std::memcpy(memory_.bytes() + byte_, &value, sizeof(T));
    return *this;
  }
  SharedElement& operator=(const SharedElement& other) { return *this = static_cast<T>(other); }
  SharedElement& operator+=(const T& value) { return *this = static_cast<T>(*this) + value; }
  void add_atomically(const T& value) {
    memory_.write(byte_, sizeof(T), true);
    T sum;
    std::memcpy(&sum, memory_.bytes() + byte_, sizeof(T));
    sum += value;
    std::memcpy(memory_.bytes() + byte_, &sum, sizeof(T));
  }

 private:
  SharedMemory& memory_;
  std::int64_t byte_;
};

template <class T>
class SharedArray {
 public:
  SharedArray(SharedMemory& memory, std::int64_t first_byte, std::int64_t count)
      : memory_(&memory), first_byte_(first_byte), count_(count) {
    memory.require(first_byte, count * std::int64_t{sizeof(T)});
    if (first_byte % alignof(T) != 0) throw KernelError("a shared array is not aligned");
  }
  SharedElement<T> operator[](std::int64_t index) const {
    if (index < 0 || index >= count_)
      throw KernelError("index " + std::to_string(index) + " of a shared array of " + std::to_string(count_));
    return {*memory_, first_byte_ + index * std::int64_t{sizeof(T)}};
  }

 private:
  SharedMemory* memory_;
  std::int64_t first_byte_, count_;
};

}  // namespace bitfall::emulation
