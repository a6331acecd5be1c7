#include "temporary_file.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "bitfall/errors.hpp"
#include "file_descriptor.hpp"

namespace bitfall {

TemporaryFile::TemporaryFile() {
  std::error_code failed;
  std::filesystem::path folder = std::filesystem::temp_directory_path(failed);
  if (failed) folder = "/tmp";
  path_ = (folder / "bitfall-XXXXXX").string();
  const FileDescriptor created(mkstemp(path_.data()));
  if (!created) {
    throw IoError("can't make a temporary file " + path_ + ": " + std::strerror(errno) +
                  "; set TMPDIR to a folder that can be written");
  }
}

TemporaryFile::~TemporaryFile() {
  unlink(path_.c_str());
}

}  // namespace bitfall
