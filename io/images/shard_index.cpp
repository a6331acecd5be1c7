#include "shard_index.hpp"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "bitfall/errors.hpp"
#include "file.hpp"
#include "sha256.hpp"
#include "tar_reader.hpp"

namespace bitfall {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMagic = "bitfall-index ";
constexpr std::string_view kVersion = "1";
constexpr std::size_t kSpotChecks = 16;

/// A text that is taken apart from the front.
class Fields {
 public:
  explicit Fields(std::string_view text) : rest_(text) {}
  [[nodiscard]] bool empty() const { return rest_.empty(); }

  /// The text up to `separator`, which is skipped. Throws DataError when there is none.
  std::string_view next(char separator) {
    const auto end = rest_.find(separator);
    if (end == std::string_view::npos) throw DataError("a line is not complete");
    const std::string_view field = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return field;
  }
  template <typename Integer>
  Integer number(char separator) {
    const std::string_view field = next(separator);
    Integer value = 0;
    const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
    if (error != std::errc() || end != field.data() + field.size())
      throw DataError("'" + std::string(field) + "' is no number");
    return value;
  }

 private:
  std::string_view rest_;
};

void require_inside(const ShardFile& file, std::int64_t offset, std::int64_t bytes) {
  if (offset < kTarBlock || offset % kTarBlock != 0 || offset > file.bytes() || bytes < 0 ||
      bytes > file.bytes() - offset)
    throw DataError("an entry lies outside the shard");
}

ShardEntry parse_entry(const ShardFile& file, Fields& fields) {
  ShardEntry entry;
  entry.sample.key = fields.next('\t');
  entry.sample.label = fields.number<std::int32_t>('\t');
  entry.sample.offset = fields.number<std::int64_t>('\t');
  entry.sample.bytes = fields.number<std::int64_t>('\t');
  entry.image_header = fields.number<std::uint64_t>('\t');
  entry.label_offset = fields.number<std::int64_t>('\t');
  entry.label_bytes = fields.number<std::int64_t>('\t');
  entry.label_blocks = fields.number<std::uint64_t>('\n');
  require_inside(file, entry.sample.offset, entry.sample.bytes);
  require_inside(file, entry.label_offset, entry.label_bytes);
  return entry;
}

/// `text` is the whole file and begins with the magic.
std::vector<ShardEntry> parse(const ShardFile& file, std::string_view text) {
  constexpr std::size_t kDigestLine = 7 + 64 + 1;
  if (Fields(text.substr(kMagic.size())).next('\n') != kVersion) throw DataError("it is of another version");
  if (text.size() < kDigestLine) throw DataError("it is cut short");
  const std::string_view body = text.substr(0, text.size() - kDigestLine);
  if (text.substr(body.size()) != "sha256 " + to_hex(sha256(body)) + "\n")
    throw DataError("its SHA-256 is wrong");
  Fields fields(body);
  fields.next('\n');
  if (fields.next(' ') != "shard") throw DataError("it has no line 'shard'");
  if (fields.number<std::int64_t>(' ') != file.bytes())
    throw DataError("it was made for a shard of another size");
  const auto count = fields.number<std::int64_t>('\n');
  std::vector<ShardEntry> entries;
  while (!fields.empty()) entries.push_back(parse_entry(file, fields));
  if (entries.empty() || static_cast<std::int64_t>(entries.size()) != count)
    throw DataError("its number of lines is wrong");
  return entries;
}

bool is_older(const fs::path& index, const ShardFile& file) {
  return ShardFile(index).modified_ns() < file.modified_ns();
}

/// Samples 0, ..., n - 1, evenly spread; all of them when there are no more than `checks`.
void compare_with_shard(const ShardFile& file, const std::vector<ShardEntry>& entries, std::size_t checks) {
  checks = std::min(checks, entries.size());
  for (std::size_t i = 0; i < checks; ++i) {
    const ShardEntry& entry = entries[checks == 1 ? 0 : i * (entries.size() - 1) / (checks - 1)];
    if (!matches(file, entry))
      throw DataError("the shard has something else at the key '" + entry.sample.key + "'");
  }
}

}  // namespace

fs::path index_path(const fs::path& shard) {
  fs::path path = shard;
  return shard.extension() == ".tar" ? path.replace_extension(".idx") : path += ".idx";
}

std::string index_text(const ShardFile& file, const std::vector<ShardEntry>& entries) {
  std::string text(kMagic);
  text += kVersion;
  text += "\nshard " + std::to_string(file.bytes()) + " " + std::to_string(entries.size()) + "\n";
  for (const ShardEntry& entry : entries) {
    const std::string& key = entry.sample.key;
    BITFALL_ASSERT(std::none_of(key.begin(), key.end(), [](char c) { return c >= 0 && c < ' '; }),
                   "a key with control characters");
    text += key + '\t' + std::to_string(entry.sample.label) + '\t' + std::to_string(entry.sample.offset) +
            '\t' + std::to_string(entry.sample.bytes) + '\t' + std::to_string(entry.image_header) + '\t' +
            std::to_string(entry.label_offset) + '\t' + std::to_string(entry.label_bytes) + '\t' +
            std::to_string(entry.label_blocks) + '\n';
  }
  return text + "sha256 " + to_hex(sha256(text)) + "\n";
}

std::optional<std::vector<ShardEntry>> load_index(const ShardFile& file, std::string& problem) {
  const fs::path path = index_path(file.path());
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return std::nullopt;
  try {
    // A sample takes at least four blocks of the tar and rarely more than 200 bytes here.
    const ShardFile index(path);
    if (index.bytes() > file.bytes() + 4096) throw DataError("it is larger than its shard");
    const std::string text = read_file(path);
    if (!text.starts_with(kMagic) && !text.empty()) return std::nullopt;  // DALI's wds2idx uses this name too
    if (text.empty()) throw DataError("it is empty");
    auto entries = parse(file, text);
    compare_with_shard(file, entries, is_older(path, file) ? entries.size() : kSpotChecks);
    return entries;
  } catch (const Error& error) {
    problem = path.string() + " is not used: " + error.what();
    return std::nullopt;
  }
}

}  // namespace bitfall
