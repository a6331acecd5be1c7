#pragma once
/// A new HDF5 file in memory, and its bytes once it is closed.
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <string>

#include "hdf5.hpp"

namespace bitfall::hdf5 {

class MemoryFile {
 public:
  MemoryFile() = default;
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  /// Once. This object must outlive the file.
  [[nodiscard]] File create();
  /// The bytes of the file, which must have been closed.
  [[nodiscard]] std::string take();

  /// For HDF5's callbacks.
  void resized(std::size_t bytes) { bytes_ = bytes; }
  void closed(void* data) { data_.reset(data); }

 private:
  struct Free {
    void operator()(void* data) const { std::free(data); }
  };
  std::unique_ptr<void, Free> data_;
  std::size_t bytes_ = 0;
};

}  // namespace bitfall::hdf5
