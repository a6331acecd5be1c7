#include "tar_reader.hpp"

#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <memory>
#include <string_view>

#include "bitfall/errors.hpp"

namespace bitfall {

namespace {

DataError wrong(const ShardFile& file, const std::string& what) {
  return DataError(file.path().string() + ": " + what);
}

/// Where the data of the entry lie whose headers begin at `position`: behind the extended headers (pax x and
/// g, GNU L and K), each with its own data, and the entry's own header. That must be a plain file of `bytes`.
std::int64_t data_offset(const ShardFile& file, std::int64_t position, std::int64_t bytes,
                         const std::string& name) {
  for (;;) {
    const auto header = file.read(position, kTarBlock, name);
    const char type = static_cast<char>(header[156]);
    const auto size = size_of(header);
    position += kTarBlock;
    if (std::string_view("xgLK").find(type) == std::string_view::npos) {
      if ((type != '0' && type != '\0' && type != '7') || size != bytes)
        throw wrong(file, "'" + name + "' is not stored as a plain file (sparse, or over 8 GiB?)");
      return position;
    }
    if (!size || *size > file.bytes() - position)
      throw wrong(file, "damaged tar: an extended header of '" + name + "' has an impossible size");
    position += (*size + kTarBlock - 1) / kTarBlock * kTarBlock;
  }
}

void require_zeros(const ShardFile& file, std::int64_t begin) {
  constexpr std::int64_t kPiece = std::int64_t{1} << 20;
  for (std::int64_t at = begin; at < file.bytes(); at += kPiece) {
    const auto bytes = file.read(at, std::min(kPiece, file.bytes() - at));
    if (std::any_of(bytes.begin(), bytes.end(), [](std::uint8_t byte) { return byte != 0; })) {
      throw wrong(file,
                  "there are bytes after the end marker (two tars in one file?); give each its own file");
    }
  }
}

void require_safe_name(const ShardFile& file, const std::string& name) {
  if (name.empty() || name.front() == '/' || ("/" + name + "/").find("/../") != std::string::npos)
    throw wrong(file, "'" + name + "' is an absolute path or leads out of the shard");
}

using Reader = std::unique_ptr<archive, int (*)(archive*)>;

Reader open_reader(const ShardFile& file) {
  if (file.bytes() < 2 * kTarBlock || file.bytes() % kTarBlock != 0)
    throw wrong(file, "not a whole tar file (truncated?)");
  const auto last = file.read(file.bytes() - kTarBlock, kTarBlock);
  if (std::any_of(last.begin(), last.end(), [](std::uint8_t byte) { return byte != 0; }))
    throw wrong(file, "the tar has no end marker (truncated?)");
  Reader reader(archive_read_new(), archive_read_free);
  archive_read_support_format_tar(reader.get());
  if (archive_read_open_filename(reader.get(), file.path().c_str(), 10240) != ARCHIVE_OK)
    throw wrong(file, std::string("not a tar file: ") + archive_error_string(reader.get()));
  return reader;
}

}  // namespace

std::optional<std::int64_t> size_of(std::span<const std::uint8_t> header) {
  const auto field = header.subspan(124, 12);
  std::uint64_t value = 0;
  if (field[0] == 0x80) {
    for (const std::uint8_t byte : field.subspan(1)) {
      if (value >> 55 != 0) return std::nullopt;
      value = value << 8 | byte;
    }
    return static_cast<std::int64_t>(value);
  }
  std::size_t at = 0;
  while (at < field.size() && field[at] == ' ') ++at;
  for (; at < field.size() && field[at] != ' ' && field[at] != 0; ++at) {
    if (field[at] < '0' || field[at] > '7') return std::nullopt;
    value = value * 8 + (field[at] - '0');
  }
  return static_cast<std::int64_t>(value);
}

// libarchive knows the dialects of names; it reads the headers and seeks over the data.
std::vector<TarMember> list_members(const ShardFile& file) {
  const Reader reader = open_reader(file);
  std::vector<TarMember> members;
  archive_entry* entry = nullptr;
  for (;;) {
    const int status = archive_read_next_header(reader.get(), &entry);
    if (status == ARCHIVE_EOF) break;
    if (status != ARCHIVE_OK)
      throw wrong(file, std::string("damaged tar: ") + archive_error_string(reader.get()));
    const char* text = archive_entry_pathname(entry);
    const std::string name = text == nullptr ? "" : text;
    const auto type = archive_entry_filetype(entry);
    if (type == AE_IFDIR) continue;
    if (type != AE_IFREG || archive_entry_hardlink(entry) != nullptr)
      throw wrong(file, "'" + name + "' is a link or a device");
    if (archive_entry_sparse_count(entry) != 0) throw wrong(file, "'" + name + "' is a sparse file");
    require_safe_name(file, name);
    const std::int64_t bytes = archive_entry_size(entry);
    const std::int64_t offset = data_offset(file, archive_read_header_position(reader.get()), bytes, name);
    if (bytes > file.bytes() - offset)
      throw wrong(file, "'" + name + "' reaches beyond the end (truncated?)");
    members.push_back({name, offset, bytes});
  }
  require_zeros(file, archive_read_header_position(reader.get()));
  return members;
}

std::uint64_t block_hash(std::span<const std::uint8_t> bytes) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const std::uint8_t byte : bytes) hash = (hash ^ byte) * 0x100000001b3U;
  return hash;
}

}  // namespace bitfall
