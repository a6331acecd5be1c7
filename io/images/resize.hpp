#pragma once
/// A part of a resized image: only what the crop needs is computed.
#include <cstdint>

#include "bitfall/images.hpp"

namespace bitfall {

/// Half-open rectangle of pixels.
struct Window {
  std::int64_t left = 0, top = 0, right = 0, bottom = 0;
};

/// A part of the image as it is; pixels outside of the image are black.
[[nodiscard]] Image cut(const Image& image, const Window& window);

/// The pixels of `window` of resize_bilinear(image, width, height), without computing the others.
[[nodiscard]] Image resize_bilinear_window(const Image& image, std::int64_t width, std::int64_t height,
                                           const Window& window);

}  // namespace bitfall
