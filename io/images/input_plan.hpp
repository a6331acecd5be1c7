#pragma once
/// From an image to a network's input: first what will be done, so that only the pixels that are needed for
/// it are decoded, then the doing.
#include <cstdint>
#include <span>
#include <vector>

#include "bitfall/images.hpp"
#include "normalise.hpp"
#include "resize.hpp"

namespace bitfall {

/// What becomes of an image.
struct InputPlan {
  Window frame;                        ///< of the image; it may reach over the edges, where it is black
  std::int64_t width = 0, height = 0;  ///< what the frame is resized to
  Window window;                       ///< of the resized frame: the input
  bool flip = false;                   ///< left becomes right

  /// The pixels of the image, which has width x height, that the input is made of.
  [[nodiscard]] Window needed(std::int64_t image_width, std::int64_t image_height) const;
  [[nodiscard]] ResizedWindow resize() const {
    return {frame.width(), frame.height(), width, height, window};
  }
};

/// `width` x `height`: of the image; `index`: the sample's. Throws DataError when the image is too small.
[[nodiscard]] InputPlan plan_input(std::int64_t width, std::int64_t height,
                                   const Preprocessing& preprocessing, const Augmentation& augmentation,
                                   std::int64_t index);

/// Memory that is used again for the next image: fresh pages cost as much as the work on them.
struct InputMemory {
  std::vector<std::uint8_t> decoded, framed;
  ResizeMemory resize;
};

/// Writes channels x height x width floats. `part` has the plan's needed pixels.
void make_input(const ImagePart& part, const InputPlan& plan, const Normaliser& normaliser,
                InputMemory& memory, std::span<float> out);

}  // namespace bitfall
