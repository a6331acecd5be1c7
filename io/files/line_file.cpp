#include "line_file.hpp"

#include <fcntl.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "bitfall/errors.hpp"
#include "disk.hpp"
#include "links.hpp"

namespace bitfall {

LineFile::LineFile(std::string path) : path_(std::move(path)) {
  file_ = FileDescriptor(Disk::current().open(follow_links(path_), O_WRONLY | O_CREAT | O_TRUNC, 0666));
  if (!file_) throw IoError("cannot write the log '" + path_ + "': " + std::strerror(errno));
}

void LineFile::add(std::string_view line) {
  std::string bytes(line);
  bytes += '\n';
  std::string_view rest = bytes;
  while (!rest.empty()) {
    const ssize_t written = Disk::current().write(file_.get(), rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      throw IoError("cannot write the log '" + path_ + "': " + std::strerror(written < 0 ? errno : EIO) +
                    "; free some space or choose another --log-json");
    }
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
}

}  // namespace bitfall
