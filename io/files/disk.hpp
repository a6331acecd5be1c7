#pragma once
/// The seam between bitfall and disks: every open for writing, write, flush, rename and removal of ours goes
/// through here, so that tests can make any one of them fail, or lose what a power cut loses.
#include <sys/types.h>

#include <cstddef>
#include <string>

namespace bitfall {

/// The system calls of POSIX.1-2008, with their results: -1 and errno, or success.
class Disk {
 public:
  virtual ~Disk() = default;
  /// open(2) of a file to write to; never inherited by a child.
  [[nodiscard]] virtual int open(const std::string& path, int flags, mode_t mode);
  [[nodiscard]] virtual ssize_t write(int file, const void* bytes, std::size_t count);
  /// fsync(2): afterwards the bytes of this file survive a power cut.
  [[nodiscard]] virtual int sync(int file);
  /// close(2): network file systems report a full disk only here.
  [[nodiscard]] virtual int close(int file);
  [[nodiscard]] virtual int set_permissions(const std::string& path, mode_t mode);
  [[nodiscard]] virtual int rename(const std::string& from, const std::string& to);
  [[nodiscard]] virtual int remove(const std::string& path);
  /// fsync(2) of a folder: afterwards the names in it survive a power cut.
  [[nodiscard]] virtual int sync_folder(const std::string& path);

  /// The one in use: the real one, unless a test has put another in its place.
  static Disk& current();
};

/// Puts a disk in place of the real one while it lives. For tests; one at a time.
class DiskOverride {
 public:
  explicit DiskOverride(Disk& disk);
  ~DiskOverride();
  DiskOverride(const DiskOverride&) = delete;
  DiskOverride& operator=(const DiskOverride&) = delete;

 private:
  Disk* before_;
};

/// The folder that holds `path`; "." for a bare name.
[[nodiscard]] std::string folder_of(const std::string& path);

}  // namespace bitfall
