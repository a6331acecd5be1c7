#pragma once
/// What is known of a shard after it was indexed.
#include <cstdint>
#include <vector>

#include "bitfall/images.hpp"
#include "shard_file.hpp"

namespace bitfall {

/// A sample, and what tells whether the shard is still the one that was indexed.
struct ShardEntry {
  Sample sample;
  std::uint64_t image_header = 0;  ///< block_hash of the tar header of KEY.jpg
  std::int64_t label_offset = 0, label_bytes = 0;
  std::uint64_t label_blocks = 0;  ///< block_hash of the tar header and the text of KEY.cls
};

/// Reads every header and every class of the tar, and pairs them by WebDataset's rules. Throws DataError.
[[nodiscard]] std::vector<ShardEntry> scan_shard(const ShardFile& file);

/// Whether the shard has this sample where the entry says, with this header and this class. False also when
/// it can't be read there.
[[nodiscard]] bool matches(const ShardFile& file, const ShardEntry& entry);

/// The bytes of a sample's image. Throws DataError with shard and key when its header is another one than
/// when the shard was indexed.
[[nodiscard]] std::vector<std::uint8_t> read_image(const ShardFile& file, const Sample& sample,
                                                   std::uint64_t image_header);

}  // namespace bitfall
