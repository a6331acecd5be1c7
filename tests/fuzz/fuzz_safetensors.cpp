// The safetensors reader; what is accepted and written again must come back equal.
#include <cstdint>
#include <string>

#include "bitfall/errors.hpp"
#include "io/archive/safetensors.hpp"
#include "scratch.hpp"

using namespace bitfall;

namespace {

void require_same(const SafetensorsFile& one, const SafetensorsFile& other) {
  if (one.tensors.size() != other.tensors.size()) fuzz::fail("another number of tensors came back");
  for (const KeptTensor& tensor : one.tensors) {
    bool found = false;
    for (const KeptTensor& back : other.tensors)
      found = found || (back.name == tensor.name && back.dtype == tensor.dtype &&
                        back.shape == tensor.shape && back.bytes == tensor.bytes);
    if (!found) fuzz::fail("the tensor '" + tensor.name + "' did not come back");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fuzz::ScratchFolder folder;
  const std::string path = folder.write("a.safetensors", fuzz::as_text(data, size));
  SafetensorsFile file;
  try {
    file = read_safetensors(path);
  } catch (const DataError& error) {
    fuzz::require_named(error.what(), "a.safetensors");
    return 0;
  }
  write_safetensors(path, file.tensors, file.metadata);
  require_same(file, read_safetensors(path));
  return 0;
}
