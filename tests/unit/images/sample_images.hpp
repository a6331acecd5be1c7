#pragma once
/// Images without a file: deterministic pictures, and the JPEG bytes of them.
#include <string>

#include "bitfall/images.hpp"
#include "bitfall/random.hpp"

namespace bitfall::test {

/// A picture that `seed` decides; its JPEG is about as large as a photograph's.
inline Image sample_image(std::int64_t width, std::int64_t height, std::uint64_t seed) {
  Image image{width, height, std::vector<std::uint8_t>(static_cast<std::size_t>(width * height * 3))};
  for (std::size_t i = 0; i < image.pixels.size(); ++i) {
    const std::uint64_t noise = random_below(seed, 7, i, 40);
    image.pixels[i] = static_cast<std::uint8_t>((i / 3 % 97 * 2 + i % 3 * 50 + noise + seed * 31) % 256);
  }
  return image;
}

inline std::string sample_jpeg(std::int64_t width, std::int64_t height, std::uint64_t seed) {
  const auto bytes = encode_jpeg(sample_image(width, height, seed), 85);
  return {bytes.begin(), bytes.end()};
}

}  // namespace bitfall::test
