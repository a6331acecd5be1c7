#pragma once
#include <string>

namespace bitfall {

/// An empty file of a new name in the folder for temporary files ($TMPDIR), removed at the end. Throws
/// IoError.
class TemporaryFile {
 public:
  TemporaryFile();
  ~TemporaryFile();
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace bitfall
