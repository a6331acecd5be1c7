#include "disk.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <string>

#include "file_descriptor.hpp"

namespace bitfall {
namespace {

Disk& real_disk() {
  static Disk disk;
  return disk;
}

/// Null: the real one. Atomic, because `pack` writes from several threads.
std::atomic<Disk*>& override_slot() {
  static std::atomic<Disk*> slot = nullptr;
  return slot;
}

}  // namespace

int Disk::open(const std::string& path, int flags, mode_t mode) {
  return ::open(path.c_str(), flags | O_CLOEXEC, mode);
}

ssize_t Disk::write(int file, const void* bytes, std::size_t count) {
  return ::write(file, bytes, count);
}

int Disk::sync(int file) {
  return ::fsync(file);
}

int Disk::close(int file) {
  return ::close(file);
}

int Disk::set_permissions(const std::string& path, mode_t mode) {
  return ::chmod(path.c_str(), mode);
}

int Disk::rename(const std::string& from, const std::string& to) {
  return ::rename(from.c_str(), to.c_str());
}

int Disk::remove(const std::string& path) {
  return ::unlink(path.c_str());
}

int Disk::sync_folder(const std::string& path) {
  const FileDescriptor folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // A folder may be writable but not readable; then the new name can't be made durable by us.
  if (!folder) return errno == EACCES ? 0 : -1;
  // Some file systems have nothing to do here and say EINVAL.
  return ::fsync(folder.get()) == 0 || errno == EINVAL || errno == ENOTSUP ? 0 : -1;
}

Disk& Disk::current() {
  Disk* chosen = override_slot();
  return chosen != nullptr ? *chosen : real_disk();
}

DiskOverride::DiskOverride(Disk& disk) : before_(override_slot().exchange(&disk)) {}

DiskOverride::~DiskOverride() {
  override_slot() = before_;
}

std::string folder_of(const std::string& path) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  return folder.empty() ? "." : folder.string();
}

}  // namespace bitfall
