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

/// Throws IoError.
void write_safetensors(const std::string& path, const std::vector<KeptTensor>& tensors,
                       const std::map<std::string, std::string>& metadata);
/// Throws MissingInputError, or DataError naming the file when a header, range or size is wrong.
[[nodiscard]] SafetensorsFile read_safetensors(const std::string& path);

}  // namespace bitfall
