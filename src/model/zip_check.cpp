// Layout: PKWARE APPNOTE.TXT 6.3.10, sections 4.3.7 (local header), 4.3.12 (central directory), 4.3.14 and
// 4.3.15 (zip64 end records), 4.3.16 (end record), 4.5.3 (zip64 extra field).
#include "model/zip_check.hpp"

#include <array>
#include <cstdint>
#include <exception>
#include <optional>

namespace bitfall {
namespace {

using Bytes = std::span<const std::byte>;
using CrcTables = std::array<std::array<std::uint32_t, 256>, 8>;

/// Tables of CRC-32 (reflected polynomial 0xEDB88320) for eight bytes at a time ("slicing by 8",
/// Kounavis and Berry 2008): tables[s][b] is the CRC of byte b followed by s zero bytes.
constexpr CrcTables make_crc_tables() {
  CrcTables tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1U) != 0 ? 0xEDB88320U : 0U);
    tables[0][byte] = crc;
  }
  for (std::size_t slice = 1; slice < tables.size(); ++slice) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t previous = tables[slice - 1][byte];
      tables[slice][byte] = (previous >> 8) ^ tables[0][previous & 0xFFU];
    }
  }
  return tables;
}

std::uint32_t crc32(Bytes bytes) {
  static constexpr CrcTables tables = make_crc_tables();
  const auto at = [&](std::size_t i) { return std::to_integer<std::uint32_t>(bytes[i]); };
  std::uint32_t crc = 0xFFFFFFFFU;
  std::size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    crc ^= at(i) | at(i + 1) << 8 | at(i + 2) << 16 | at(i + 3) << 24;
    crc = tables[7][crc & 0xFFU] ^ tables[6][(crc >> 8) & 0xFFU] ^ tables[5][(crc >> 16) & 0xFFU] ^
          tables[4][crc >> 24] ^ tables[3][at(i + 4)] ^ tables[2][at(i + 5)] ^ tables[1][at(i + 6)] ^
          tables[0][at(i + 7)];
  }
  for (; i < bytes.size(); ++i) crc = (crc >> 8) ^ tables[0][(crc ^ at(i)) & 0xFFU];
  return ~crc;
}

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

std::string entry_damage(Bytes file, const Entry& entry, const InflateEntry& inflate) {
  if (!inside(file, entry.header, 30) || number(file, entry.header, 4) != 0x04034B50) {
    return "its entry '" + entry.name + "' does not start where the directory says";
  }
  const std::uint64_t data =
      entry.header + 30 + number(file, entry.header + 26, 2) + number(file, entry.header + 28, 2);
  if (!inside(file, data, entry.stored_size)) return "its entry '" + entry.name + "' reaches beyond its end";
  std::string inflated;
  Bytes content = file.subspan(data, entry.stored_size);
  if (entry.method != 0) {
    try {
      inflated = inflate(entry.name);
    } catch (const std::exception&) {
      return "its entry '" + entry.name + "' can't be decompressed";
    }
    content = std::as_bytes(std::span(inflated));
  }
  if (content.size() != entry.size || crc32(content) != entry.crc) {
    return "its entry '" + entry.name + "' is damaged (size or checksum differ)";
  }
  return {};
}

}  // namespace

std::string zip_damage(Bytes file, const InflateEntry& inflate) {
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
    if (std::string damage = entry_damage(file, entry, inflate); !damage.empty()) return damage;
    at += 46 + name + extra + comment;
  }
  return {};
}

}  // namespace bitfall
