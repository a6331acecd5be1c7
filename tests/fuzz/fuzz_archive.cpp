// The archive reader, and `inspect` of what it accepts. Inputs are HDF5 images, read as they are and then
// sealed, so that they get past the SHA-256 to the HDF5 library and our own checks.
#include <cstdint>
#include <string>

#include "bitfall/archive.hpp"
#include "bitfall/errors.hpp"
#include "io/archive/describe.hpp"
#include "io/archive/seal.hpp"
#include "scratch.hpp"

using namespace bitfall;

namespace {

void parse(const std::string& bytes) {
  Archive archive;
  try {
    archive = parse_archive(bytes, "folder/a.h5");
  } catch (const DataError& error) {
    fuzz::require_named(error.what(), "folder/a.h5");
    return;
  }
  // What is accepted has the content that its hash says, and can be decoded.
  if (content_hash(archive) != archive.content_sha256) fuzz::fail("accepted with another content hash");
  for (const QuantizedLayer& layer : archive.layers) {
    for (const std::uint16_t code : layer.codes) {
      if (code >= layer.k) fuzz::fail("accepted a code without a codeword");
    }
  }
  ArchiveBytes parts;
  parts.layers.resize(archive.layers.size());
  (void)describe_json(archive, parts);
  (void)describe_table(archive, parts);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string image(fuzz::as_text(data, size));
  parse(image);
  parse(image + make_seal(image));
  return 0;
}
