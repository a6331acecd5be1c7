#pragma once
/// A part of a resized image: only what the crop needs is computed.
#include <cstdint>
#include <vector>

#include "bitfall/images.hpp"
#include "window.hpp"

namespace bitfall {

/// A window of a resized image, all of which is never made.
struct ResizedWindow {
  std::int64_t from_width = 0, from_height = 0, to_width = 0, to_height = 0;
  Window window;  ///< inside to_width x to_height

  /// The pixels of the image before the resize that `window` is made of.
  [[nodiscard]] Window source() const;
};

/// Memory that a resize uses again for the next image.
struct ResizeMemory {
  std::vector<std::uint8_t> narrow, small;
};

/// The pixels of `resized.window`, equal to those of resize_bilinear. `part` has resized.source(); what is
/// returned lies in `memory`, or where the size stays the same in `part`.
[[nodiscard]] ImagePart resize_part(const ImagePart& part, const ResizedWindow& resized,
                                    ResizeMemory& memory);

}  // namespace bitfall
