/// Which JPEGs are accepted, and what is Pillow's in their decoding: CMYK by Adobe's convention.
#include <turbojpeg.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <string_view>
#include <type_traits>
#include <utility>

#include "bitfall/errors.hpp"
#include "bitfall/images.hpp"
#include "jpeg.hpp"

namespace bitfall {

namespace {

/// A picture beyond this is a mistake or an attack (Pillow refuses 1.8e8): it would take 805 MB decoded.
constexpr std::int64_t kMaxPixels = std::int64_t{1} << 28;

bool contains_end_of_image(std::span<const std::uint8_t> bytes) {
  constexpr std::uint8_t kMarker[2] = {0xFF, 0xD9};
  return std::search(bytes.begin(), bytes.end(), std::begin(kMarker), std::end(kMarker)) != bytes.end();
}

[[noreturn]] void throw_bad_jpeg(const std::string& name, const std::string& why) {
  throw DataError(name + ": not a usable JPEG (" + why + "); replace or remove it");
}

/// Pillow's Convert.c (cmyk2rgb): red = W - round(C * W / 255) with W = 255 - K, in 8-bit integers. The
/// samples come inverted, as Adobe stores them.
void inverted_cmyk_to_rgb(std::span<const std::uint8_t> cmyk, std::span<std::uint8_t> rgb) {
  for (std::size_t i = 0, count = rgb.size() / 3; i < count; ++i) {
    const int white = cmyk[4 * i + 3];  // 255 - K, because K is stored inverted
    for (std::size_t channel = 0; channel < 3; ++channel) {
      const int product = (255 - cmyk[4 * i + channel]) * white + 128;
      const int ink = ((product >> 8) + product) >> 8;  // round(C * white / 255)
      rgb[3 * i + channel] = static_cast<std::uint8_t>(std::clamp(white - ink, 0, 255));
    }
  }
}

}  // namespace

JpegFile::JpegFile(std::span<const std::uint8_t> bytes, std::string name)
    : bytes_(bytes), name_(std::move(name)), decompressor_(bytes) {
  if (bytes.empty()) throw_bad_jpeg(name_, "it is empty");
  if (bytes.size() < 3 || bytes[0] != 0xFF || bytes[1] != 0xD8 || bytes[2] != 0xFF)
    throw_bad_jpeg(name_, "it does not begin like a JPEG file");
  if (!decompressor_.read_header()) throw_bad_jpeg(name_, decompressor_.error());
  if (width() * height() > kMaxPixels)
    throw_bad_jpeg(name_, std::to_string(width()) + " x " + std::to_string(height()) +
                              " pixels are more than the limit of 2^28");
}

ImagePart JpegFile::decode(const Window& needed, std::vector<std::uint8_t>& memory) {
  BITFALL_ASSERT(
      (Window{0, 0, width(), height()}.contains(needed)) && needed.width() > 0 && needed.height() > 0,
      "a window of the image");
  if (!decompressor_.start(needed)) throw_bad_jpeg(name_, decompressor_.error());
  const Window& part = decompressor_.part();
  const auto pixels = static_cast<std::size_t>(part.width() * part.height());
  const bool is_cmyk = decompressor_.is_cmyk();
  memory.resize(pixels * 3);
  std::vector<std::uint8_t> cmyk(is_cmyk ? pixels * 4 : 0);
  if (!decompressor_.read(is_cmyk ? cmyk.data() : memory.data()))
    throw_bad_jpeg(name_, decompressor_.error());
  if (decompressor_.had_stray_bytes() &&
      !contains_end_of_image(bytes_.last(std::min<std::size_t>(bytes_.size(), 1024))))
    throw_bad_jpeg(name_, "its end is far from the end of the file");
  if (is_cmyk) inverted_cmyk_to_rgb(cmyk, memory);
  return {part, memory.data()};
}

Image decode_jpeg(std::span<const std::uint8_t> bytes, const std::string& name) {
  JpegFile file(bytes, name);
  Image image{file.width(), file.height(), {}};
  file.decode({0, 0, image.width, image.height}, image.pixels);
  return image;
}

std::array<std::int64_t, 2> jpeg_size(std::span<const std::uint8_t> bytes, const std::string& name) {
  const JpegFile file(bytes, name);
  return {file.width(), file.height()};
}

std::vector<std::uint8_t> encode_jpeg(const Image& image, int quality) {
  BITFALL_ASSERT(quality >= 1 && quality <= 100, "JPEG quality is 1 to 100");
  BITFALL_ASSERT(image.width >= 1 && image.width <= 65500 && image.height >= 1 && image.height <= 65500,
                 "JPEG sides are 1 to 65500");
  BITFALL_ASSERT(static_cast<std::int64_t>(image.pixels.size()) == image.width * image.height * 3,
                 "an RGB image");
  const std::unique_ptr<void, int (*)(tjhandle)> handle(tjInitCompress(), tjDestroy);
  BITFALL_ASSERT(handle != nullptr, tjGetErrorStr2(nullptr));
  unsigned char* jpeg = nullptr;
  unsigned long size = 0;
  const int status = tjCompress2(handle.get(), image.pixels.data(), static_cast<int>(image.width), 0,
                                 static_cast<int>(image.height), TJPF_RGB, &jpeg, &size, TJSAMP_420, quality,
                                 TJFLAG_ACCURATEDCT);
  const std::unique_ptr<unsigned char, decltype([](unsigned char* p) { tjFree(p); })> owner(jpeg);
  BITFALL_ASSERT(status == 0, tjGetErrorStr2(handle.get()));
  return {jpeg, jpeg + size};
}

}  // namespace bitfall
