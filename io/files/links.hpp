#pragma once
/// Symbolic links at the place of an output.
#include <filesystem>

namespace bitfall {

/// The file that writing to `path` would write: links are followed, also one to a file that is yet to be
/// made. Throws IoError for a link that another user has put into a folder where everybody may write: it
/// would lead where he wants. (Linux's fs.protected_symlinks refuses the same, where it is on.) Links of
/// one's own, or of the folder's owner, are followed.
[[nodiscard]] std::filesystem::path follow_links(const std::filesystem::path& path);

}  // namespace bitfall
