#pragma once
/// A text file that grows by whole lines, for logs.
#include <string>
#include <string_view>

#include "file_descriptor.hpp"

namespace bitfall {

class LineFile {
 public:
  /// Begins the file anew. Throws IoError that names it, also for another user's link in a shared folder.
  explicit LineFile(std::string path);
  /// Adds `line` and a line feed. Throws IoError.
  void add(std::string_view line);

 private:
  std::string path_;
  FileDescriptor file_;
};

}  // namespace bitfall
