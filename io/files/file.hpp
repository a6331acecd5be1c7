#pragma once
/// Whole files in memory: every byte that an archive, a network or an export consists of passes here.
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace bitfall {

/// All bytes of a regular file. Throws MissingInputError naming the file and the reason.
[[nodiscard]] std::string read_file(const std::filesystem::path& path);

/// The `count` bytes from `offset` (negative: from the end); fewer when the file ends earlier, none when it
/// begins later. Throws MissingInputError.
[[nodiscard]] std::string read_part(const std::filesystem::path& path, std::int64_t offset,
                                    std::int64_t count);

/// Writes beside `path`, fsyncs, renames and fsyncs the folder, so that `path` has all of `bytes` or is what
/// it was. Throws IoError naming the file and the reason.
void write_file_atomically(const std::filesystem::path& path, std::string_view bytes);

}  // namespace bitfall
