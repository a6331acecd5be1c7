// JPEG decoding, then preprocessing with and without augmentation. Four bytes choose the sizes.
#include <cmath>
#include <cstdint>
#include <vector>

#include "bitfall/errors.hpp"
#include "bitfall/images.hpp"
#include "scratch.hpp"

using namespace bitfall;

namespace {

void check(const Preprocessing& how, const std::vector<float>& pixels) {
  for (const float value : pixels) {
    if (!std::isfinite(value)) fuzz::fail(how.name + ": a pixel is not finite");
  }
}

void prepare(const Image& image, const Preprocessing& how, const Augmentation& augmentation) {
  std::vector<float> pixels(static_cast<std::size_t>(how.channels * how.crop * how.crop), HUGE_VALF);
  try {
    preprocess(image, how, augmentation, 3, pixels);
  } catch (const DataError&) {
    return;  // smaller than the crop
  }
  check(how, pixels);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 4) return 0;
  Preprocessing how;
  how.crop = 1 + data[0] % 48;
  how.resize = data[1] % 64;  // 0: as it is
  how.channels = data[2] % 2 == 0 ? 3 : 1;
  Image image;
  try {
    image = decode_jpeg({data + 4, size - 4}, "shard.tar: key.jpg");
  } catch (const DataError& error) {
    fuzz::require_named(error.what(), "shard.tar: key.jpg");
    return 0;
  }
  if (static_cast<std::int64_t>(image.pixels.size()) != image.width * image.height * 3)
    fuzz::fail("an image of another size");
  if (image.width * image.height > 1 << 16) return 0;  // only to be quick
  prepare(image, how, {});
  prepare(image, how, {AugmentationKind::resized_crop, data[3], 1});
  prepare(image, how, {AugmentationKind::shifted_crop, data[3], 2});
  return 0;
}
