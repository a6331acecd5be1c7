#pragma once
/// Training augmentation as torchvision's, from counter-based random numbers.
#include <cstdint>

#include "bitfall/images.hpp"
#include "resize.hpp"

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
[[nodiscard]] Image apply_augmentation(const Image& image, const Preprocessing& preprocessing,
                                       AugmentationKind kind, const AugmentationChoice& choice);

/// Both: the image as the network shall see it before normalisation, crop x crop pixels.
[[nodiscard]] Image augment(const Image& image, const Preprocessing& preprocessing,
                            const Augmentation& augmentation, std::int64_t index);

}  // namespace bitfall
