#include "links.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <system_error>

#include "bitfall/errors.hpp"
#include "disk.hpp"

namespace bitfall {
namespace {

namespace fs = std::filesystem;

void refuse_foreign(const fs::path& path, const fs::path& named) {
  struct stat link {};
  struct stat folder {};
  if (::lstat(path.c_str(), &link) != 0 || ::stat(folder_of(path).c_str(), &folder) != 0) return;
  if ((folder.st_mode & S_IWOTH) == 0 || link.st_uid == ::geteuid() || link.st_uid == folder.st_uid) return;
  throw IoError("cannot write '" + named.string() + "': it is a symbolic link of another user (id " +
                std::to_string(link.st_uid) + ") in a folder where everybody may write; choose another name");
}

}  // namespace

fs::path follow_links(const fs::path& path) {
  constexpr int most_links = 40;  // as Linux has it
  fs::path place = path;
  for (int links = 0; links < most_links; ++links) {
    std::error_code error;
    if (!fs::is_symlink(fs::symlink_status(place, error))) return place;
    refuse_foreign(place, path);
    const fs::path next = fs::read_symlink(place, error);
    if (error) throw IoError("cannot write '" + path.string() + "': " + error.message());
    place = place.parent_path() / next;  // an absolute one replaces all
  }
  throw IoError("cannot write '" + path.string() + "': too many symbolic links; name the file itself");
}

}  // namespace bitfall
