#include "bitfall/quantized_layer.hpp"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "bitfall/errors.hpp"

namespace bitfall {

std::int64_t QuantizedLayer::elements() const {
  return std::accumulate(weight_shape.begin(), weight_shape.end(), std::int64_t{1}, std::multiplies<>());
}

int QuantizedLayer::code_bits() const {
  return bitfall::code_bits(k);
}

std::int64_t QuantizedLayer::codebook_bytes() const {
  const auto values = static_cast<std::int64_t>(codebook.size());
  return codebook_scale > 0 ? values + k + 4 : 2 * values;
}

int code_bits(std::int64_t k) {
  return k <= 1 ? 0 : static_cast<int>(std::bit_width(static_cast<std::uint64_t>(k - 1)));
}

std::vector<float> decode(const QuantizedLayer& layer) {
  const auto d = static_cast<std::size_t>(layer.d);
  const auto k = static_cast<std::size_t>(layer.k);
  if (layer.d < 1 || layer.k < 1 || layer.codebook.size() != k * d ||
      static_cast<std::size_t>(layer.elements()) != layer.codes.size() * d)
    throw DataError("layer '" + layer.name + "': shape, codebook (" + std::to_string(layer.codebook.size()) +
                    " values for k " + std::to_string(layer.k) + ", d " + std::to_string(layer.d) + ") and " +
                    std::to_string(layer.codes.size()) + " codes do not fit together");
  std::vector<float> codebook(k * d);
  std::transform(layer.codebook.begin(), layer.codebook.end(), codebook.begin(), half_to_float);
  std::vector<float> weight(layer.codes.size() * d);
  float* out = weight.data();
  for (const std::uint16_t code : layer.codes) {
    if (code >= k)
      throw DataError("layer '" + layer.name + "': code " + std::to_string(code) + " but only " +
                      std::to_string(layer.k) + " codewords");
    out = std::copy_n(codebook.data() + code * d, d, out);
  }
  return weight;
}

}  // namespace bitfall
