#pragma once
/// The index file beside a shard (docs/shards.md): saves the scan of the tar.
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "shard_entries.hpp"
#include "shard_file.hpp"

namespace bitfall {

/// SHARD.tar -> SHARD.idx; any other name gets .idx appended.
[[nodiscard]] std::filesystem::path index_path(const std::filesystem::path& shard);

/// The text of the index file; depends on nothing but the shard's bytes. No key may contain a control
/// character.
[[nodiscard]] std::string index_text(const ShardFile& file, const std::vector<ShardEntry>& entries);

/// What the index file says, if it can be believed: undamaged, made for a shard of this size, and right where
/// the shard is looked at: everywhere when the shard is newer than its index, else at 16 samples. Otherwise
/// nothing, and `problem` says why; it stays empty when there is no index, or one of another program.
[[nodiscard]] std::optional<std::vector<ShardEntry>> load_index(const ShardFile& file, std::string& problem);

}  // namespace bitfall
