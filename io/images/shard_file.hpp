#pragma once
/// An open shard: reads at an offset, from any thread.
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "file_descriptor.hpp"

namespace bitfall {

class ShardFile {
 public:
  /// Throws MissingInputError when the file can't be opened, DataError when it is a folder, a pipe or a
  /// device.
  explicit ShardFile(const std::filesystem::path& path);

  /// Exactly `count` bytes. Throws DataError "SHARD: WHAT: ..." when the file ends before; `what` may be
  /// empty.
  [[nodiscard]] std::vector<std::uint8_t> read(std::int64_t offset, std::int64_t count,
                                               const std::string& what = "") const;
  [[nodiscard]] std::int64_t bytes() const { return bytes_; }
  [[nodiscard]] std::int64_t modified_ns() const { return modified_ns_; }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  FileDescriptor file_;
  std::int64_t bytes_ = 0;
  std::int64_t modified_ns_ = 0;  ///< since 1970
};

}  // namespace bitfall
