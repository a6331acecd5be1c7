#pragma once
/// The safetensors format: 8 bytes of header length, a JSON header, raw tensors (huggingface/safetensors,
/// README).
#include <map>
#include <string>
#include <vector>

#include "bitfall/archive.hpp"

namespace bitfall {

struct SafetensorsFile {
  std::vector<KeptTensor> tensors;  ///< in the order of their data
  std::map<std::string, std::string> metadata;
};

/// Writes atomically; tensors that are stored compactly are written in their own dtype. `metadata` goes to
/// "__metadata__" ({"format", "pt"} is what PyTorch's loaders look for). Throws IoError; DataError for an
/// element type that the format does not know or sizes that don't fit.
void write_safetensors(const std::string& path, const std::vector<KeptTensor>& tensors,
                       const std::map<std::string, std::string>& metadata);
/// Reads and checks: header length, JSON, types, shapes against sizes, no gap and no overlap. Throws
/// MissingInputError or DataError naming the file and the tensor.
[[nodiscard]] SafetensorsFile read_safetensors(const std::string& path);

}  // namespace bitfall
