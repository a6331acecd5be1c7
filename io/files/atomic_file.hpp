#pragma once
/// Replacing a file without ever showing half of it.
#include <filesystem>
#include <string_view>

#include "file_descriptor.hpp"

namespace bitfall {

/// A new file beside `path` under a temporary name. `commit` gives it the name; a destructor without commit
/// removes it. So after any failure `path` is what it was, and nothing else is left. (A process that is
/// killed outright leaves PATH.tmp.PID or PATH.tmp.PID.N, which nobody reads; OutputLock removes it.)
/// Every member throws IoError that names the file and the reason.
class AtomicFile {
 public:
  /// Refuses a folder or a device as target, and another user's link in a shared folder. Other symbolic links
  /// keep their place: what they point to is replaced.
  explicit AtomicFile(const std::filesystem::path& path);
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  void write(std::string_view bytes);
  /// All that was written is on the disk afterwards, and the file can be read under temporary_path(); the
  /// page cache is told to forget it, so that reading it back reads the disk.
  void sync();
  /// rename(2) to the target and fsync of the folder. After sync().
  void commit();
  [[nodiscard]] const std::filesystem::path& temporary_path() const { return temporary_; }

 private:
  void create();
  [[noreturn]] void fail(std::string_view action, int error) const;

  std::filesystem::path path_;
  std::filesystem::path target_;     ///< path_ with symbolic links resolved
  std::filesystem::path temporary_;  ///< empty: nothing to remove
  FileDescriptor file_;
};

}  // namespace bitfall
