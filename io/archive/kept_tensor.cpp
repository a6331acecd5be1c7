#include <cmath>
#include <cstring>

#include "bitfall/archive.hpp"
#include "bitfall/errors.hpp"

namespace bitfall {

void compact_to_half(KeptTensor& tensor) {
  if (tensor.stored_dtype != "float32") return;
  std::vector<std::uint8_t> bytes(tensor.bytes.size() / 2);
  for (std::size_t i = 0; i < bytes.size() / 2; ++i) {
    float value = 0;
    std::memcpy(&value, tensor.bytes.data() + 4 * i, sizeof value);
    const std::uint16_t half = float_to_half(value);
    if (std::isfinite(value) && !std::isfinite(half_to_float(half))) {
      throw DataError("tensor '" + tensor.name + "' has the value " + std::to_string(value) +
                      ", which does not fit fp16; store it with --kept exact");
    }
    std::memcpy(bytes.data() + 2 * i, &half, sizeof half);
  }
  tensor.bytes = std::move(bytes);
  tensor.stored_dtype = "float16";
}

}  // namespace bitfall
