// Layout: PKWARE APPNOTE.TXT 6.3.10, sections 4.3.7 (local header), 4.3.12 (central directory), 4.3.14 and
// 4.3.15 (zip64 end records), 4.3.16 (end record), 4.5.3 (zip64 extra field).
#include "model/zip_check.hpp"

#include <zlib.h>

#include <array>
#include <cstdint>
#include <limits>
#include <optional>

namespace bitfall {
namespace {

using Bytes = std::span<const std::byte>;

/// Little-endian unsigned integer of `count` bytes at `offset`; 0 outside the file (callers check ranges).
std::uint64_t number(Bytes file, std::uint64_t offset, int count) {
  if (offset > file.size() || file.size() - offset < static_cast<std::uint64_t>(count)) return 0;
  std::uint64_t value = 0;
  for (int i = count - 1; i >= 0; --i) {
    value = value << 8 | std::to_integer<std::uint64_t>(file[offset + static_cast<std::uint64_t>(i)]);
  }
  return value;
}

bool inside(Bytes file, std::uint64_t offset, std::uint64_t size) {
  return offset <= file.size() && size <= file.size() - offset;
}

struct Directory {
  std::uint64_t entries = 0, size = 0, offset = 0;
};

/// Where the central directory lies: from the end record, or the zip64 one when a field of it is saturated.
std::optional<Directory> find_directory(Bytes file) {
  constexpr std::uint64_t end_size = 22;
  if (file.size() < end_size) return std::nullopt;
  const std::uint64_t last = file.size() - end_size;
  const std::uint64_t lowest = last > 0xFFFF ? last - 0xFFFF : 0;  // a comment has at most 65,535 bytes
  for (std::uint64_t end = last + 1; end-- > lowest;) {
    if (number(file, end, 4) != 0x06054B50) continue;
    Directory directory{number(file, end + 10, 2), number(file, end + 12, 4), number(file, end + 16, 4)};
    if (end >= 20 && number(file, end - 20, 4) == 0x07064B50) {  // zip64 locator
      const std::uint64_t end64 = number(file, end - 12, 8);
      if (!inside(file, end64, 56) || number(file, end64, 4) != 0x06064B50) return std::nullopt;
      directory = {number(file, end64 + 32, 8), number(file, end64 + 40, 8), number(file, end64 + 48, 8)};
    }
    if (!inside(file, directory.offset, directory.size)) return std::nullopt;
    return directory;
  }
  return std::nullopt;
}

struct Entry {
  std::string name;
  std::uint64_t method = 0, crc = 0, stored_size = 0, size = 0, header = 0;
};

/// Replaces saturated 32-bit fields by those of the zip64 extra field, in the order the format demands.
void apply_zip64(Bytes extra, Entry& entry) {
  for (std::uint64_t at = 0; at + 4 <= extra.size();) {
    const std::uint64_t id = number(extra, at, 2);
    const std::uint64_t size = number(extra, at + 2, 2);
    std::uint64_t field = at + 4;
    for (std::uint64_t* value : {&entry.size, &entry.stored_size, &entry.header}) {
      if (id != 1 || *value != 0xFFFFFFFFU) continue;
      *value = number(extra, field, 8);
      field += 8;
    }
    at += 4 + size;
  }
}

/// zlib's view of bytes, which it never writes to.
const Bytef* zlib_bytes(Bytes bytes) {
  return reinterpret_cast<const Bytef*>(bytes.data());
}

/// Size and CRC-32 of an entry's content.
struct Content {
  std::uint64_t size = 0, crc = 0;
};

Content stored_content(Bytes stored) {
  return {stored.size(), crc32_z(0, zlib_bytes(stored), stored.size())};
}

/// Of a deflated entry, inflated piece by piece so that a damaged size costs no memory; nothing where zlib
/// can't.
std::optional<Content> inflated_content(Bytes stored) {
  constexpr int raw_deflate = -MAX_WBITS;  // no zlib header
  z_stream stream{};
  if (stored.size() > std::numeric_limits<uInt>::max() || inflateInit2(&stream, raw_deflate) != Z_OK)
    return std::nullopt;
  stream.next_in = const_cast<Bytef*>(zlib_bytes(stored));
  stream.avail_in = static_cast<uInt>(stored.size());
  std::array<Bytef, 1 << 16> piece{};
  Content content;
  int status = Z_OK;
  while (status == Z_OK) {
    stream.next_out = piece.data();
    stream.avail_out = static_cast<uInt>(piece.size());
    status = inflate(&stream, Z_NO_FLUSH);
    const std::size_t written = piece.size() - stream.avail_out;
    content.size += written;
    content.crc = crc32_z(content.crc, piece.data(), written);
  }
  inflateEnd(&stream);
  if (status != Z_STREAM_END) return std::nullopt;
  return content;
}

std::string entry_damage(Bytes file, const Entry& entry) {
  const std::string named = "its entry '" + entry.name + "' ";
  if (!inside(file, entry.header, 30) || number(file, entry.header, 4) != 0x04034B50) {
    return named + "does not start where the directory says";
  }
  const std::uint64_t data =
      entry.header + 30 + number(file, entry.header + 26, 2) + number(file, entry.header + 28, 2);
  if (!inside(file, data, entry.stored_size)) return named + "reaches beyond its end";
  const Bytes stored = file.subspan(data, entry.stored_size);
  const std::optional<Content> content = entry.method == 0   ? stored_content(stored)
                                         : entry.method == 8 ? inflated_content(stored)
                                                             : std::nullopt;
  if (!content) return named + "can't be decompressed";
  if (content->size != entry.size || content->crc != entry.crc) {
    return named + "is damaged (size or checksum differ)";
  }
  return {};
}

}  // namespace

std::string zip_damage(Bytes file) {
  if (number(file, 0, 4) != 0x04034B50) return "it does not start like a zip file";
  const std::optional<Directory> directory = find_directory(file);
  if (!directory) return "it is a zip file without its directory (truncated?)";
  std::uint64_t at = directory->offset;
  for (std::uint64_t i = 0; i < directory->entries; ++i) {
    if (!inside(file, at, 46) || number(file, at, 4) != 0x02014B50) return "the zip directory is damaged";
    const std::uint64_t name = number(file, at + 28, 2);
    const std::uint64_t extra = number(file, at + 30, 2);
    const std::uint64_t comment = number(file, at + 32, 2);
    if (!inside(file, at + 46, name + extra + comment)) return "the zip directory is damaged";
    // LibTorch's reader (miniz) takes an entry with the MS-DOS folder bit for a folder and reads nothing of
    // it.
    if ((number(file, at + 38, 4) & 0x10) != 0) return "its zip directory calls a file a folder";
    Entry entry{std::string(reinterpret_cast<const char*>(file.data() + at + 46), name),
                number(file, at + 10, 2),
                number(file, at + 16, 4),
                number(file, at + 20, 4),
                number(file, at + 24, 4),
                number(file, at + 42, 4)};
    apply_zip64(file.subspan(at + 46 + name, extra), entry);
    if (std::string damage = entry_damage(file, entry); !damage.empty()) return damage;
    at += 46 + name + extra + comment;
  }
  return {};
}

}  // namespace bitfall
