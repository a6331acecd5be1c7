#include "import_authors.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "bitfall/errors.hpp"
#include "io/archive/safetensors.hpp"
#include "io/files/file_descriptor.hpp"
#include "run_python.hpp"

namespace bitfall {

namespace {

/// An empty file of a new name in the folder for temporary files, removed at the end.
class TemporaryFile {
 public:
  TemporaryFile() {
    std::error_code failed;
    std::filesystem::path folder = std::filesystem::temp_directory_path(failed);
    if (failed) folder = "/tmp";
    path_ = (folder / "bitfall-import-XXXXXX").string();
    const FileDescriptor created(mkstemp(path_.data()));
    if (!created) {
      throw IoError("can't make a temporary file " + path_ + ": " + std::strerror(errno) +
                    "; set TMPDIR to a folder that can be written");
    }
  }
  ~TemporaryFile() { unlink(path_.c_str()); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace

Archive import_authors(const std::string& path, Network& network) {
  const TemporaryFile converted;
  run_python("bitfall_import.py", {path, converted.path()});
  return assemble_authors_archive(read_safetensors(converted.path()).tensors, network, path);
}

}  // namespace bitfall
