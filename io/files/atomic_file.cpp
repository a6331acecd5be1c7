#include "atomic_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

#include "bitfall/errors.hpp"
#include "disk.hpp"
#include "links.hpp"

namespace bitfall {
namespace {

namespace fs = std::filesystem;

/// What the user can do about it, for the reasons that batch jobs meet.
std::string_view advice(int error) {
  switch (error) {
    case ENOSPC:
      return "; free some space or choose another folder";
    case EDQUOT:
      return "; free some of your quota or choose another folder";
    case EFBIG:
      return "; raise the file size limit (ulimit -f)";
    case EACCES:
    case EPERM:
    case EROFS:
      return "; choose a folder that you may write to";
    case ENOENT:
      return "; create the folder first";
    default:
      return "";
  }
}

}  // namespace

void AtomicFile::fail(std::string_view action, int error) const {
  throw IoError("cannot write '" + path_.string() + "': " + std::string(action) + ": " +
                std::generic_category().message(error) + std::string(advice(error)));
}

AtomicFile::AtomicFile(const fs::path& path) : path_(path), target_(follow_links(path)) {
  std::error_code error;
  const fs::file_status status = fs::status(target_, error);
  if (fs::is_directory(status))
    throw IoError("cannot write '" + path.string() + "': it is a folder; name a file");
  // Renaming over /dev/null or a pipe would replace it for everybody.
  if (fs::exists(status) && !fs::is_regular_file(status))
    throw IoError("cannot write '" + path.string() + "': it is not a regular file; name another one");

  create();
}

/// In a container or on another host of a shared file system a process may have the id of one that was killed
/// or that is still writing: its file stays, this one gets another name.
void AtomicFile::create() {
  constexpr int most_attempts = 100;
  const std::string stem = target_.string() + ".tmp." + std::to_string(::getpid());
  for (int attempt = 0;; ++attempt) {
    const fs::path temporary = attempt == 0 ? stem : stem + "." + std::to_string(attempt);
    file_ = FileDescriptor(Disk::current().open(temporary, O_RDWR | O_CREAT | O_EXCL, 0666));
    if (file_) {
      temporary_ = temporary;
      return;
    }
    if (errno != EEXIST || attempt == most_attempts)
      fail("creating '" + temporary.string() + "' beside it", errno);
  }
}

AtomicFile::~AtomicFile() {
  if (!temporary_.empty()) (void)Disk::current().remove(temporary_);
}

void AtomicFile::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = Disk::current().write(file_.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail("writing", written < 0 ? errno : EIO);
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

void AtomicFile::sync() {
  if (Disk::current().sync(file_.get()) != 0) fail("fsync", errno);
  // Advice only: without it the reading back would compare the page cache with itself.
  (void)::posix_fadvise(file_.get(), 0, 0, POSIX_FADV_DONTNEED);
  if (Disk::current().close(file_.release()) != 0) fail("closing", errno);
}

void AtomicFile::commit() {
  BITFALL_ASSERT(!file_, "commit() before sync()");
  Disk& disk = Disk::current();
  // A file that is replaced keeps its permissions.
  struct stat old {};
  if (::stat(target_.c_str(), &old) == 0 && disk.set_permissions(temporary_, old.st_mode & 07777) != 0)
    fail("setting permissions", errno);
  if (disk.rename(temporary_, target_) != 0) fail("renaming the finished file", errno);
  temporary_.clear();
  if (disk.sync_folder(folder_of(target_)) != 0)
    fail("fsync of the folder (the file itself is in place)", errno);
}

}  // namespace bitfall
