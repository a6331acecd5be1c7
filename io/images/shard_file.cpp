#include "shard_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "bitfall/errors.hpp"

namespace bitfall {

// O_NONBLOCK: opening a pipe that nobody writes to would wait for ever. It changes nothing for a regular
// file.
ShardFile::ShardFile(const std::filesystem::path& path)
    : path_(path), file_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
  struct stat status {};
  if (!file_ || fstat(file_.get(), &status) != 0)
    throw MissingInputError("cannot open the shard " + path.string() + ": " + std::strerror(errno));
  if (!S_ISREG(status.st_mode)) throw DataError(path.string() + ": not a file; a shard is a tar file");
  bytes_ = status.st_size;
  modified_ns_ = std::int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec;
}

std::vector<std::uint8_t> ShardFile::read(std::int64_t offset, std::int64_t count,
                                          const std::string& what) const {
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(count));
  std::int64_t done = 0;
  while (done < count) {
    const ssize_t got =
        pread(file_.get(), bytes.data() + done, static_cast<std::size_t>(count - done), offset + done);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      throw DataError(path_.string() + (what.empty() ? "" : ": " + what) + ": " +
                      (got == 0 ? "the file ends early (truncated?)" : std::strerror(errno)));
    }
    done += got;
  }
  return bytes;
}

}  // namespace bitfall
