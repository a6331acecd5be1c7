#include "augment.hpp"

#include <algorithm>
#include <cmath>

#include "bitfall/errors.hpp"
#include "bitfall/random.hpp"

namespace bitfall {

namespace {

/// The random numbers of one image in one epoch, drawn in a fixed order.
class Draws {
 public:
  Draws(const Augmentation& augmentation, std::int64_t index)
      : seed_(augmentation.seed),
        stream_(random_stream::augmentation + augmentation.epoch),
        counter_(static_cast<std::uint64_t>(index) * draws_of_an_image) {}

  /// In [0, 1), 53 bits.
  double uniform() {
    return std::ldexp(static_cast<double>(random_bits(seed_, stream_, counter_++) >> 11), -53);
  }
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  /// In [0, bound).
  std::int64_t below(std::int64_t bound) {
    return static_cast<std::int64_t>(
        random_below(seed_, stream_, counter_++, static_cast<std::uint64_t>(bound)));
  }

 private:
  /// Ten tries of four numbers, and the flip.
  static constexpr std::uint64_t draws_of_an_image = 64;

  std::uint64_t seed_, stream_, counter_;
};

/// torchvision's RandomResizedCrop.get_params: 8 % to 100 % of the area, sides 3:4 to 4:3, ten tries, then
/// the largest centred window with sides in that range.
Window random_window(std::int64_t image_width, std::int64_t image_height, Draws& draws) {
  constexpr double least_ratio = 3.0 / 4.0;
  constexpr double most_ratio = 4.0 / 3.0;
  const auto width = static_cast<double>(image_width);
  const auto height = static_cast<double>(image_height);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double area = width * height * draws.uniform(0.08, 1.0);
    const double ratio = std::exp(draws.uniform(std::log(least_ratio), std::log(most_ratio)));
    const auto w = static_cast<std::int64_t>(std::nearbyint(std::sqrt(area * ratio)));
    const auto h = static_cast<std::int64_t>(std::nearbyint(std::sqrt(area / ratio)));
    if (w < 1 || h < 1 || w > image_width || h > image_height) continue;
    const std::int64_t top = draws.below(image_height - h + 1);
    const std::int64_t left = draws.below(image_width - w + 1);
    return {left, top, left + w, top + h};
  }
  std::int64_t w = image_width;
  std::int64_t h = image_height;
  if (width / height < least_ratio) h = static_cast<std::int64_t>(std::nearbyint(width / least_ratio));
  if (width / height > most_ratio) w = static_cast<std::int64_t>(std::nearbyint(height * most_ratio));
  const std::int64_t left = (image_width - w) / 2;
  const std::int64_t top = (image_height - h) / 2;
  return {left, top, left + w, top + h};
}

/// torchvision's RandomCrop(crop, padding=4): a window of the image in a black frame of 4 pixels.
Window shifted_window(std::int64_t width, std::int64_t height, std::int64_t crop, Draws& draws) {
  constexpr std::int64_t padding = 4;
  if (width + 2 * padding < crop || height + 2 * padding < crop) {
    throw DataError("an image of " + std::to_string(width) + " x " + std::to_string(height) +
                    " pixels is too small for a random crop of " + std::to_string(crop));
  }
  const std::int64_t top = draws.below(height + 2 * padding - crop + 1) - padding;
  const std::int64_t left = draws.below(width + 2 * padding - crop + 1) - padding;
  return {left, top, left + crop, top + crop};
}

}  // namespace

AugmentationChoice choose_augmentation(std::int64_t width, std::int64_t height,
                                       const Preprocessing& preprocessing, const Augmentation& augmentation,
                                       std::int64_t index) {
  BITFALL_ASSERT(augmentation.kind != AugmentationKind::none, "an augmentation");
  Draws draws(augmentation, index);
  AugmentationChoice choice;
  choice.window = augmentation.kind == AugmentationKind::resized_crop
                      ? random_window(width, height, draws)
                      : shifted_window(width, height, preprocessing.crop, draws);
  choice.flip = draws.below(2) == 1;
  return choice;
}

AugmentationKind augmentation_from_name(const std::string& name, const Preprocessing& preprocessing) {
  if (name == "none") return AugmentationKind::none;
  if (preprocessing.crop == 0) {  // of any size; detectors, mostly, whose boxes would have to move along
    if (name == "auto") return AugmentationKind::none;
    throw UsageError("--augment " + name + " needs a --preprocess with a crop");
  }
  if (name == "resized-crop") return AugmentationKind::resized_crop;
  if (name == "shifted-crop") return AugmentationKind::shifted_crop;
  if (name != "auto") {
    throw UsageError("the augmentation must be auto, none, resized-crop or shifted-crop, not '" + name + "'");
  }
  return preprocessing.resize == 0 ? AugmentationKind::shifted_crop : AugmentationKind::resized_crop;
}

}  // namespace bitfall
