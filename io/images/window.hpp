#pragma once
/// Parts of images.
#include <cstdint>

#include "bitfall/images.hpp"

namespace bitfall {

/// Half-open rectangle of pixels.
struct Window {
  std::int64_t left = 0, top = 0, right = 0, bottom = 0;

  [[nodiscard]] std::int64_t width() const { return right - left; }
  [[nodiscard]] std::int64_t height() const { return bottom - top; }
  /// Whether all of `other` lies in it.
  [[nodiscard]] bool contains(const Window& other) const {
    return left <= other.left && top <= other.top && other.right <= right && other.bottom <= bottom;
  }
  bool operator==(const Window&) const = default;
};

/// Pixels of a window of an image that are somebody else's.
struct ImagePart {
  Window window;                         ///< of the image, what is there of it
  const std::uint8_t* pixels = nullptr;  ///< RGB, row major, interleaved, without gaps

  /// The pixel at (x, y) of the image.
  [[nodiscard]] const std::uint8_t* at(std::int64_t x, std::int64_t y) const {
    return pixels + 3 * ((y - window.top) * window.width() + x - window.left);
  }
  [[nodiscard]] std::int64_t stride() const { return 3 * window.width(); }
};

inline ImagePart whole(const Image& image) {
  return {{0, 0, image.width, image.height}, image.pixels.data()};
}

}  // namespace bitfall
