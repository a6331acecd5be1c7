#pragma once
/// Training augmentation as torchvision's, from counter-based random numbers.
#include <cstdint>

#include "bitfall/images.hpp"

namespace bitfall {

/// The image as the network shall see it before normalisation, crop x crop pixels. `index` is the sample's.
[[nodiscard]] Image augment(const Image& image, const Preprocessing& preprocessing,
                            const Augmentation& augmentation, std::int64_t index);

}  // namespace bitfall
