#pragma once
/// Bytes of equal significance side by side: numbers of similar size compress better so.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace bitfall {

/// Byte j of element i goes to j * elements + i. `element_bytes` divides the size.
[[nodiscard]] inline std::vector<std::uint8_t> shuffle(std::span<const std::uint8_t> data,
                                                       std::size_t element_bytes) {
  std::vector<std::uint8_t> shuffled(data.size());
  const std::size_t elements = data.size() / element_bytes;
  for (std::size_t j = 0; j < element_bytes; ++j) {
    for (std::size_t i = 0; i < elements; ++i) shuffled[j * elements + i] = data[i * element_bytes + j];
  }
  return shuffled;
}

/// The inverse.
[[nodiscard]] inline std::vector<std::uint8_t> unshuffle(std::span<const std::uint8_t> shuffled,
                                                         std::size_t element_bytes) {
  std::vector<std::uint8_t> data(shuffled.size());
  const std::size_t elements = shuffled.size() / element_bytes;
  for (std::size_t j = 0; j < element_bytes; ++j) {
    for (std::size_t i = 0; i < elements; ++i) data[i * element_bytes + j] = shuffled[j * elements + i];
  }
  return data;
}

}  // namespace bitfall
