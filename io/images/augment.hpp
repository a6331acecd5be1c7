#pragma once
/// Training augmentation as torchvision's, from counter-based random numbers.
#include <cstdint>

#include "bitfall/images.hpp"
#include "window.hpp"

namespace bitfall {

/// What the random numbers decide for one image in one epoch.
struct AugmentationChoice {
  Window window;  ///< of the image; a shifted one may reach over its edges, where it is black
  bool flip = false;
};

/// `width` x `height`: of the image; `index`: the sample's. Throws DataError when the image is too small.
[[nodiscard]] AugmentationChoice choose_augmentation(std::int64_t width, std::int64_t height,
                                                     const Preprocessing& preprocessing,
                                                     const Augmentation& augmentation, std::int64_t index);

}  // namespace bitfall
