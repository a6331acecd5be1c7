#pragma once
/// One writer of an output at a time.
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "file_descriptor.hpp"

namespace bitfall {

/// Holds .NAME.lock beside the output NAME while it lives, by flock(2): the kernel lets go of it when the
/// process ends, however it ends, so no lock is ever stale. The file itself is removed at the end; one that a
/// killed process has left is taken over. Whoever has the lock also removes what killed writers of the same
/// output have left (PATH.tmp.PID). A file system without locks (ENOLCK, ENOSYS) gives an object that holds
/// nothing.
class OutputLock {
 public:
  /// Says of a file name without .tmp.PID whether it belongs to this output; by default only `path`'s own.
  using Ours = std::function<bool(std::string_view stem)>;

  /// Throws IoError that names `path`, and the process that has the lock.
  explicit OutputLock(const std::filesystem::path& path, const Ours& is_ours = {});
  ~OutputLock();
  OutputLock(const OutputLock&) = delete;
  OutputLock& operator=(const OutputLock&) = delete;

  [[nodiscard]] bool held() const { return static_cast<bool>(file_); }

 private:
  [[nodiscard]] bool try_lock(const std::string& named);
  void sign();
  void remove_leftovers(const Ours& is_ours) const;

  std::filesystem::path target_;  ///< what is written, symbolic links resolved
  std::string lock_path_;
  FileDescriptor file_;
};

}  // namespace bitfall
