// Shards: two bytes of length, the lines of an index file of that length, and the tar behind it. The index
// gets its first lines and its SHA-256 here, so that it gets past them. What is accepted must be readable.
#include <algorithm>
#include <cstdint>
#include <string>

#include "bitfall/errors.hpp"
#include "bitfall/images.hpp"
#include "io/files/sha256.hpp"
#include "scratch.hpp"

using namespace bitfall;

namespace {

/// The index file with these lines, of a shard of this size.
std::string index_of(std::string_view lines, std::size_t shard_bytes) {
  const auto count = std::count(lines.begin(), lines.end(), '\n');
  std::string text =
      "bitfall-index 1\nshard " + std::to_string(shard_bytes) + " " + std::to_string(count) + "\n";
  text += lines;
  return text + "sha256 " + to_hex(sha256(text)) + "\n";
}

/// An index file that is believed and a scan of the tar must not disagree about where a sample lies.
void read_all(const ShardSet& shards) {
  for (std::size_t i = 0; i < shards.samples().size(); ++i) {
    const Sample& sample = shards.samples()[i];
    if (sample.offset < 512 || sample.bytes < 0 || sample.label < 0) fuzz::fail("a sample that can't be");
    try {
      const auto bytes = shards.read(static_cast<std::int64_t>(i));
      if (static_cast<std::int64_t>(bytes.size()) != sample.bytes) fuzz::fail("a sample of another size");
    } catch (const DataError& error) {
      fuzz::require_named(error.what(), "a.tar");
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fuzz::ScratchFolder folder;
  if (size < 2) return 0;
  const std::size_t index = std::min<std::size_t>(size - 2, data[0] + 256U * data[1]);
  const auto text = fuzz::as_text(data + 2, size - 2);
  const std::string tar = folder.write("a.tar", text.substr(index));
  if (index == 0)
    std::filesystem::remove(folder / "a.idx");
  else
    (void)folder.write("a.idx", index_of(text.substr(0, index), text.size() - index));
  try {
    read_all(ShardSet::open(tar));
  } catch (const DataError& error) {
    fuzz::require_named(error.what(), "a.tar");
  }
  return 0;
}
