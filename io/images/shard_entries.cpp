#include "shard_entries.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "bitfall/errors.hpp"
#include "tar_reader.hpp"

namespace bitfall {

namespace {

struct Name {
  std::string key, extension;
};

/// WebDataset: the key is the path up to the first dot of its last component, and not empty there; what
/// follows is the extension, in lower case. Other names (README, .hidden) are no samples: both parts stay
/// empty.
Name split_name(const std::string& name) {
  const auto slash = name.rfind('/');
  const auto base = slash == std::string::npos ? 0 : slash + 1;
  const auto dot = name.find('.', base);
  if (dot == std::string::npos || dot == base) return {};
  Name parts{name.substr(0, dot), name.substr(dot + 1)};
  for (char& c : parts.extension) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return parts;
}

std::int32_t parse_label(std::span<const std::uint8_t> text, const std::string& where) {
  const char* first = reinterpret_cast<const char*>(text.data());
  const char* last = first + text.size();
  while (last > first && (last[-1] == '\n' || last[-1] == '\r' || last[-1] == ' ')) --last;
  std::int32_t label = -1;
  const auto [end, error] = std::from_chars(first, last, label);
  if (error != std::errc() || end != last || label < 0)
    throw DataError(where + " is not a class number (0, 1, ...)");
  return label;
}

/// Sets label and label_blocks from the header and the text at label_offset.
void read_label(const ShardFile& file, ShardEntry& entry) {
  const std::string name = entry.sample.key + ".cls", where = file.path().string() + ": " + name;
  if (entry.label_bytes > 32) throw DataError(where + " is not a class number");
  const auto blocks = file.read(entry.label_offset - kTarBlock, kTarBlock + entry.label_bytes, name);
  entry.sample.label = parse_label(std::span(blocks).subspan(kTarBlock), where);
  entry.label_blocks = block_hash(blocks);
}

ShardEntry make_entry(const ShardFile& file, const std::string& key, const TarMember& image,
                      const TarMember& label) {
  const auto missing = [&](const std::string& extension) {
    return DataError(file.path().string() + ": the key '" + key + "' has no " + extension);
  };
  if (image.name.empty()) throw missing(".jpg");
  if (label.name.empty()) throw missing(".cls");
  ShardEntry entry;
  entry.sample.key = key;
  entry.sample.offset = image.offset;
  entry.sample.bytes = image.bytes;
  entry.image_header = block_hash(file.read(image.offset - kTarBlock, kTarBlock, image.name));
  entry.label_offset = label.offset;
  entry.label_bytes = label.bytes;
  read_label(file, entry);
  return entry;
}

/// Whether the header is the one that was indexed, and of a file of that size.
bool is_header_of(std::span<const std::uint8_t> header, const Sample& sample, std::uint64_t image_header) {
  return block_hash(header) == image_header && size_of(header) == sample.bytes;
}

/// Whether a header names KEY.jpg. Its 100 bytes hold all of a short name only.
bool has_key(std::span<const std::uint8_t> header, const std::string& key) {
  constexpr std::size_t kShort = 90;
  if (key.size() > kShort) return true;
  const std::string_view name(reinterpret_cast<const char*>(header.data()), 100);
  return name.starts_with(key + ".");
}

}  // namespace

std::vector<ShardEntry> scan_shard(const ShardFile& file) {
  std::map<std::string, std::array<TarMember, 2>> found;  // image, label
  std::vector<std::string> order;
  for (TarMember& member : list_members(file)) {
    const auto [key, extension] = split_name(member.name);
    const bool image = extension == "jpg" || extension == "jpeg";
    if (!image && extension != "cls") continue;
    const auto [place, inserted] = found.try_emplace(key);
    if (inserted) order.push_back(key);
    TarMember& slot = place->second[image ? 0 : 1];
    if (!slot.name.empty()) throw DataError(file.path().string() + ": the key '" + key + "' occurs twice");
    slot = std::move(member);
  }
  std::vector<ShardEntry> entries;
  for (const std::string& key : order) {
    const auto& [image, label] = found.at(key);
    entries.push_back(make_entry(file, key, image, label));
  }
  if (entries.empty()) throw DataError(file.path().string() + ": no KEY.jpg with KEY.cls in this tar");
  return entries;
}

bool matches(const ShardFile& file, const ShardEntry& entry) {
  try {
    ShardEntry now = entry;
    read_label(file, now);
    const auto header = file.read(entry.sample.offset - kTarBlock, kTarBlock);
    return now.sample.label == entry.sample.label && now.label_blocks == entry.label_blocks &&
           is_header_of(header, entry.sample, entry.image_header) && has_key(header, entry.sample.key);
  } catch (const DataError&) {
    return false;
  }
}

std::vector<std::uint8_t> read_image(const ShardFile& file, const Sample& sample,
                                     std::uint64_t image_header) {
  const std::string name = sample.key + ".jpg";
  auto bytes = file.read(sample.offset - kTarBlock, kTarBlock + sample.bytes, name);
  if (!is_header_of(std::span(bytes).first(kTarBlock), sample, image_header)) {
    throw DataError(
        file.path().string() + ": " + name +
        " is not where the index has it: the shard was changed since; run `bitfall pack` again, or "
        "delete its .idx file");
  }
  bytes.erase(bytes.begin(), bytes.begin() + kTarBlock);
  return bytes;
}

}  // namespace bitfall
