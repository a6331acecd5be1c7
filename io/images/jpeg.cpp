/// JPEG through TurboJPEG, with Pillow's choices: accurate DCT, smooth chroma upsampling, CMYK by Adobe's
/// convention.
#include <turbojpeg.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <string_view>
#include <type_traits>
#include <utility>

#include "bitfall/errors.hpp"
#include "bitfall/images.hpp"

namespace bitfall {

namespace {

/// A picture beyond this is a mistake or an attack (Pillow refuses 1.8e8): it would take 805 MB decoded.
constexpr std::int64_t kMaxPixels = std::int64_t{1} << 28;

struct CloseHandle {
  void operator()(void* handle) const { tjDestroy(handle); }
};
using Handle = std::unique_ptr<void, CloseHandle>;

/// One for each image, though making one costs as much as decoding 32 x 32 pixels: libjpeg keeps the
/// quantization and Huffman tables of earlier files (for abbreviated streams), so that a file that lacks its
/// own would decode to what another image left behind, and a damaged one would spoil the next.
Handle make_decompressor() {
  Handle handle(tjInitDecompress());
  if (!handle) throw InternalError("TurboJPEG can't start: " + std::string(tjGetErrorStr2(nullptr)));
  return handle;
}

bool contains_end_of_image(std::span<const std::uint8_t> bytes) {
  constexpr std::uint8_t kMarker[2] = {0xFF, 0xD9};
  return std::search(bytes.begin(), bytes.end(), std::begin(kMarker), std::end(kMarker)) != bytes.end();
}

/// TurboJPEG calls truncation and damaged entropy data a warning and returns grey pixels; here that is an
/// error. Stray bytes in front of the end marker are harmless and common in ImageNet; Pillow decodes such
/// files too. libjpeg only reports the first warning, hence the second look at the end marker.
bool is_harmless_warning(tjhandle handle, std::span<const std::uint8_t> bytes) {
  if (tjGetErrorCode(handle) != TJERR_WARNING) return false;
  const std::string_view message = tjGetErrorStr2(handle);
  if (message.find("extraneous bytes before marker 0xd9") == std::string_view::npos) return false;
  return contains_end_of_image(bytes.last(std::min<std::size_t>(bytes.size(), 1024)));
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

struct Header {
  int width = 0, height = 0, colour_space = -1;
};

Header read_header(tjhandle handle, std::span<const std::uint8_t> bytes, const std::string& name) {
  if (bytes.empty()) throw_bad_jpeg(name, "it is empty");
  if (bytes.size() < 3 || bytes[0] != 0xFF || bytes[1] != 0xD8 || bytes[2] != 0xFF)
    throw_bad_jpeg(name, "it does not begin like a JPEG file");
  if (bytes.size() > std::numeric_limits<unsigned long>::max() / 2) throw_bad_jpeg(name, "it is too big");
  Header header;
  int subsampling = 0;
  const int status = tjDecompressHeader3(handle, bytes.data(), bytes.size(), &header.width, &header.height,
                                         &subsampling, &header.colour_space);
  // With an unusual chroma layout this call fails after it has found the size, yet such a file decodes.
  if (header.width < 1 || header.height < 1)
    throw_bad_jpeg(name, status != 0 ? tjGetErrorStr2(handle) : "it has no pixels");
  if (static_cast<std::int64_t>(header.width) * header.height > kMaxPixels)
    throw_bad_jpeg(name, std::to_string(header.width) + " x " + std::to_string(header.height) +
                             " pixels are more than the limit of 2^28");
  return header;
}

}  // namespace

Image decode_jpeg(std::span<const std::uint8_t> bytes, const std::string& name) {
  Image image;
  decode_jpeg(bytes, name, image);
  return image;
}

void decode_jpeg(std::span<const std::uint8_t> bytes, const std::string& name, Image& image) {
  const Handle handle = make_decompressor();
  const Header header = read_header(handle.get(), bytes, name);
  const bool is_cmyk = header.colour_space == TJCS_CMYK || header.colour_space == TJCS_YCCK;
  const std::int64_t pixels = static_cast<std::int64_t>(header.width) * header.height;
  image.width = header.width;
  image.height = header.height;
  image.pixels.resize(static_cast<std::size_t>(pixels) * 3);
  std::vector<std::uint8_t> cmyk(is_cmyk ? static_cast<std::size_t>(pixels) * 4 : 0);

  const int status = tjDecompress2(
      handle.get(), bytes.data(), bytes.size(), is_cmyk ? cmyk.data() : image.pixels.data(), header.width, 0,
      header.height, is_cmyk ? TJPF_CMYK : TJPF_RGB, TJFLAG_ACCURATEDCT | TJFLAG_LIMITSCANS);
  if (status != 0 && !is_harmless_warning(handle.get(), bytes))
    throw_bad_jpeg(name, tjGetErrorStr2(handle.get()));
  if (is_cmyk) inverted_cmyk_to_rgb(cmyk, image.pixels);
}

std::array<std::int64_t, 2> jpeg_size(std::span<const std::uint8_t> bytes, const std::string& name) {
  const Handle handle = make_decompressor();
  const Header header = read_header(handle.get(), bytes, name);
  return {header.width, header.height};
}

std::vector<std::uint8_t> encode_jpeg(const Image& image, int quality) {
  BITFALL_ASSERT(quality >= 1 && quality <= 100, "JPEG quality is 1 to 100");
  BITFALL_ASSERT(image.width >= 1 && image.width <= 65500 && image.height >= 1 && image.height <= 65500,
                 "JPEG sides are 1 to 65500");
  BITFALL_ASSERT(static_cast<std::int64_t>(image.pixels.size()) == image.width * image.height * 3,
                 "an RGB image");
  const Handle handle(tjInitCompress());
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
