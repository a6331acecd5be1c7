#pragma once
/// The members of a tar and where their bytes are.
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "shard_file.hpp"

namespace bitfall {

constexpr std::int64_t kTarBlock = 512;  ///< bytes; headers and data begin at multiples of it

/// A regular file inside a tar. Its own header is the block in front of `offset`.
struct TarMember {
  std::string name;
  std::int64_t offset = 0, bytes = 0;
};

/// Every regular file, in order; folders are left out. Throws DataError for a damaged or truncated tar, for
/// links, devices, sparse files, absolute paths and for anything behind the end marker.
[[nodiscard]] std::vector<TarMember> list_members(const ShardFile& file);

/// The size field of a header block: octal digits between spaces and NULs, or (GNU) a big-endian number after
/// 0x80.
[[nodiscard]] std::optional<std::int64_t> size_of(std::span<const std::uint8_t> header);

/// FNV-1a, 64 bits: recognises a block that is not the one it was; no protection against malice.
[[nodiscard]] std::uint64_t block_hash(std::span<const std::uint8_t> bytes);

}  // namespace bitfall
