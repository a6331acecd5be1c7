#include "output_lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

#include "bitfall/errors.hpp"
#include "disk.hpp"
#include "file.hpp"
#include "links.hpp"

namespace bitfall {
namespace {

namespace fs = std::filesystem;

bool is_number(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c); });
}

/// NAME of "NAME.tmp.PID" and "NAME.tmp.PID.N" (atomic_file.cpp); empty for other names.
std::string_view stem_of_temporary(std::string_view name) {
  const auto at = name.rfind(".tmp.");
  if (at == std::string_view::npos) return {};
  std::string_view rest = name.substr(at + 5);
  const auto dot = rest.find('.');
  if (dot != std::string_view::npos) {
    if (!is_number(rest.substr(dot + 1))) return {};
    rest = rest.substr(0, dot);
  }
  return is_number(rest) ? name.substr(0, at) : std::string_view();
}

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "?";
}

/// What sign() wrote; "another process" when it can't be read.
std::string holder(const std::string& lock_path) {
  try {
    std::string text = read_part(lock_path, 0, 300);
    text.erase(std::remove_if(text.begin(), text.end(), [](unsigned char c) { return std::iscntrl(c); }),
               text.end());
    return text.empty() ? "another process" : text;
  } catch (const Error&) {
    return "another process";
  }
}

bool same_file(int descriptor, const std::string& path) {
  struct stat one {};
  struct stat other {};
  return ::fstat(descriptor, &one) == 0 && ::lstat(path.c_str(), &other) == 0 && one.st_ino == other.st_ino &&
         one.st_dev == other.st_dev;
}

}  // namespace

OutputLock::OutputLock(const fs::path& path, const Ours& is_ours) : target_(follow_links(path)) {
  // Hidden: what a killed job leaves is neither seen nor matched by the pattern of a data set.
  lock_path_ = target_.parent_path() / ("." + target_.filename().string() + ".lock");
  // A holder that ends between our open and our lock has removed the file we opened: then once more.
  constexpr int most_attempts = 100;
  for (int attempt = 0; attempt < most_attempts; ++attempt) {
    if (!try_lock(path.string())) return;  // a file system without locks
    if (same_file(file_.get(), lock_path_)) {
      sign();
      remove_leftovers(is_ours);
      return;
    }
    file_ = FileDescriptor();
  }
  throw IoError("cannot lock '" + path.string() + "': other jobs take and leave its lock all the time");
}

bool OutputLock::try_lock(const std::string& named) {
  // Never through a link, which somebody else may have put there.
  file_ = FileDescriptor(Disk::current().open(lock_path_, O_RDWR | O_CREAT | O_NOFOLLOW, 0666));
  if (!file_) {
    throw IoError("cannot write '" + named + "': creating its lock '" + lock_path_ +
                  "': " + std::strerror(errno) + "; choose a folder that you may write to");
  }
  int status = 0;
  while ((status = ::flock(file_.get(), LOCK_EX | LOCK_NB)) != 0 && errno == EINTR) continue;
  if (status == 0) return true;
  if (errno == EWOULDBLOCK) {
    throw IoError("cannot write '" + named + "': another job is writing it (" + holder(lock_path_) +
                  " holds '" + lock_path_ + "'); wait for it or choose another output");
  }
  // No locks here. Nobody can hold this one, so nobody misses the file.
  file_ = FileDescriptor();
  (void)Disk::current().remove(lock_path_);
  return false;
}

/// For the message that another job gets; nothing depends on it.
void OutputLock::sign() {
  const std::string text = "process " + std::to_string(::getpid()) + " on " + host_name() + "\n";
  if (::ftruncate(file_.get(), 0) == 0) (void)Disk::current().write(file_.get(), text.data(), text.size());
}

void OutputLock::remove_leftovers(const Ours& is_ours) const {
  const std::string own = target_.filename();
  std::error_code error;
  for (fs::directory_iterator entry(folder_of(target_), error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename();
    const std::string_view stem = stem_of_temporary(name);
    if (stem.empty() || !(is_ours ? is_ours(stem) : stem == own)) continue;
    (void)Disk::current().remove(entry->path());
  }
}

OutputLock::~OutputLock() {
  // Removed before it is let go, so that nobody locks a file that is about to vanish without seeing it.
  if (file_) (void)Disk::current().remove(lock_path_);
}

}  // namespace bitfall
