// JPEG decoding, then preprocessing with and without augmentation. Four bytes choose the sizes.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "bitfall/errors.hpp"
#include "bitfall/images.hpp"
#include "io/images/jpeg.hpp"
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

/// A part is what the whole shows there; and of a file that is an error, anything but a crash.
void decode_part(std::span<const std::uint8_t> jpeg, const std::uint8_t* choice, const Image* whole) {
  std::vector<std::uint8_t> memory;
  try {
    JpegFile file(jpeg, "shard.tar: key.jpg");
    if (file.width() * file.height() > 1 << 22) return;  // only to be quick
    const std::int64_t left = choice[0] * file.width() / 256, top = choice[1] * file.height() / 256;
    const Window window{left, top, left + 1 + choice[2] * (file.width() - left - 1) / 256,
                        top + 1 + choice[3] * (file.height() - top - 1) / 256};
    const ImagePart part = file.decode(window, memory);
    for (std::int64_t y = window.top; whole != nullptr && y < window.bottom; ++y) {
      const std::uint8_t* row = whole->pixels.data() + 3 * (y * whole->width + left);
      if (!std::equal(row, row + 3 * window.width(), part.at(left, y))) fuzz::fail("a part that differs");
    }
  } catch (const DataError& error) {
    fuzz::require_named(error.what(), "shard.tar: key.jpg");
    if (whole != nullptr) fuzz::fail("a part that is an error where the whole is none");
  }
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
    decode_part({data + 4, size - 4}, data, nullptr);
    return 0;
  }
  if (static_cast<std::int64_t>(image.pixels.size()) != image.width * image.height * 3)
    fuzz::fail("an image of another size");
  decode_part({data + 4, size - 4}, data, &image);
  if (image.width * image.height > 1 << 16) return 0;  // only to be quick
  prepare(image, how, {});
  prepare(image, how, {AugmentationKind::resized_crop, data[3], 1});
  prepare(image, how, {AugmentationKind::shifted_crop, data[3], 2});
  return 0;
}
