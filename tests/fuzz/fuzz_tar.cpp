// Shards: two bytes of length, an index file of that length, and the tar behind it. What is accepted must be
// readable.
#include <algorithm>
#include <cstdint>
#include <string>

#include "bitfall/errors.hpp"
#include "bitfall/images.hpp"
#include "scratch.hpp"

using namespace bitfall;

namespace {

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
  (void)folder.write("a.idx", text.substr(0, index));
  try {
    read_all(ShardSet::open(tar));
  } catch (const DataError& error) {
    fuzz::require_named(error.what(), "a.tar");
  }
  return 0;
}
