#include "file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

#include "atomic_file.hpp"
#include "bitfall/errors.hpp"
#include "file_descriptor.hpp"

namespace bitfall {
namespace {

[[noreturn]] void fail_to_read(const std::filesystem::path& path, int error) {
  throw MissingInputError("cannot read '" + path.string() + "': " + std::generic_category().message(error));
}

/// Opens a regular file for reading; a pipe or a device could block or never end.
FileDescriptor open_regular(const std::filesystem::path& path, std::int64_t& size) {
  FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) fail_to_read(path, errno);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) fail_to_read(path, errno);
  if (S_ISDIR(status.st_mode))
    throw MissingInputError("cannot read '" + path.string() + "': it is a folder, a file is needed");
  if (!S_ISREG(status.st_mode))
    throw MissingInputError("cannot read '" + path.string() + "': it is not a regular file");
  size = status.st_size;
  return file;
}

/// Reads until `bytes` is full or the file ends; returns the bytes read.
std::size_t read_fully(const FileDescriptor& file, const std::filesystem::path& path, std::int64_t offset,
                       std::string& bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = ::pread(file.get(), bytes.data() + done, bytes.size() - done,
                                offset + static_cast<std::int64_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_to_read(path, errno);
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return done;
}

}  // namespace

std::string read_part(const std::filesystem::path& path, std::int64_t offset, std::int64_t count) {
  std::int64_t size = 0;
  const FileDescriptor file = open_regular(path, size);
  const std::int64_t first = std::clamp(offset < 0 ? size + offset : offset, std::int64_t{0}, size);
  std::string bytes(static_cast<std::size_t>(std::min(count, size - first)), '\0');
  bytes.resize(read_fully(file, path, first, bytes));
  return bytes;
}

std::string read_file(const std::filesystem::path& path) {
  std::int64_t size = 0;
  const FileDescriptor file = open_regular(path, size);
  std::string bytes(static_cast<std::size_t>(size), '\0');
  if (read_fully(file, path, 0, bytes) != bytes.size())
    throw MissingInputError("cannot read '" + path.string() + "': it became shorter while it was read");
  return bytes;
}

void write_file_atomically(const std::filesystem::path& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.sync();
  file.commit();
}

}  // namespace bitfall
