#include "quantization/rounded_codebook.hpp"

#include <cmath>
#include <string>

#include "bitfall/errors.hpp"
#include "bitfall/quantized_layer.hpp"

namespace bitfall {

std::vector<std::uint16_t> round_to_half(std::span<float> codebook, std::int64_t d) {
  std::vector<std::uint16_t> halves(codebook.size());
  for (std::size_t i = 0; i < codebook.size(); ++i) {
    const float value = codebook[i];
    halves[i] = float_to_half(value);
    codebook[i] = half_to_float(halves[i]);
    if (!std::isfinite(codebook[i]))
      throw DataError("k-means: codeword " + std::to_string(i / static_cast<std::size_t>(d)) +
                      " has the value " + std::to_string(value) +
                      ", which does not fit fp16 (largest 65504); rescale the layer's weights or leave the "
                      "layer out");
  }
  return halves;
}

}  // namespace bitfall
