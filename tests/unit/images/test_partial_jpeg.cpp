// A part of a JPEG has the bytes that TurboJPEG decodes there when it decodes all of it.
#include <turbojpeg.h>

#include <cstdlib>
#include <iostream>
#include <memory>

#include "bitfall/errors.hpp"
#include "catch.hpp"
#include "io/images/input_plan.hpp"
#include "io/images/jpeg.hpp"
#include "io/images/tar_reader.hpp"
#include "sample_images.hpp"
#include "temporary_folder.hpp"

namespace bitfall::test {

namespace {

using Bytes = std::vector<std::uint8_t>;

/// TurboJPEG's whole picture, RGB.
Image decode_whole(const Bytes& jpeg) {
  const std::unique_ptr<void, int (*)(tjhandle)> handle(tjInitDecompress(), tjDestroy);
  int width = 0, height = 0, subsampling = 0, colours = 0;
  tjDecompressHeader3(handle.get(), jpeg.data(), jpeg.size(), &width, &height, &subsampling, &colours);
  Image image{width, height, Bytes(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3)};
  const int status = tjDecompress2(handle.get(), jpeg.data(), jpeg.size(), image.pixels.data(), width, 0,
                                   height, TJPF_RGB, TJFLAG_ACCURATEDCT);
  REQUIRE((status == 0 || tjGetErrorCode(handle.get()) == TJERR_WARNING));
  return image;
}

Bytes encode(const Image& image, int layout, int flags) {
  const std::unique_ptr<void, int (*)(tjhandle)> handle(tjInitCompress(), tjDestroy);
  unsigned char* jpeg = nullptr;
  unsigned long size = 0;
  REQUIRE(tjCompress2(handle.get(), image.pixels.data(), static_cast<int>(image.width), 0,
                      static_cast<int>(image.height), TJPF_RGB, &jpeg, &size, layout, 90, flags) == 0);
  const Bytes bytes(jpeg, jpeg + size);
  tjFree(jpeg);
  return bytes;
}

/// Empty, or which byte of `needed` differs.
std::string difference(const Bytes& jpeg, const Image& expected, const Window& needed) {
  Bytes memory;
  JpegFile file(jpeg, "x");
  if (file.width() != expected.width || file.height() != expected.height) return "another size";
  const ImagePart part = file.decode(needed, memory);
  if (!part.window.contains(needed)) return "less than was needed";
  for (std::int64_t y = needed.top; y < needed.bottom; ++y) {
    const std::uint8_t* row = expected.pixels.data() + 3 * (y * expected.width + needed.left);
    if (!std::equal(row, row + 3 * needed.width(), part.at(needed.left, y)))
      return "row " + std::to_string(y) + " of " + std::to_string(needed.left) + "," +
             std::to_string(needed.top) + " to " + std::to_string(needed.right) + "," +
             std::to_string(needed.bottom);
  }
  return "";
}

Window random_window(std::int64_t width, std::int64_t height, std::uint64_t seed) {
  const auto draw = [&](std::uint64_t counter, std::int64_t bound) {
    return static_cast<std::int64_t>(random_below(seed, 11, counter, static_cast<std::uint64_t>(bound)));
  };
  const std::int64_t left = draw(0, width), top = draw(1, height);
  return {left, top, left + 1 + draw(2, width - left), top + 1 + draw(3, height - top)};
}

/// Edges of blocks are where upsampling looks across: single rows and columns around them, and any windows.
std::vector<Window> windows_of(std::int64_t width, std::int64_t height) {
  std::vector<Window> windows{{0, 0, width, height}, {0, 0, 1, 1}, {width - 1, height - 1, width, height}};
  for (std::int64_t at = 0; at < std::min<std::int64_t>(height, 52); ++at)
    windows.push_back({width / 2, at, std::min(width / 2 + 40, width), at + 1});
  for (std::int64_t at = 0; at < std::min<std::int64_t>(width, 68); ++at)
    windows.push_back({at, height / 3, at + 1, std::min(height / 3 + 20, height)});
  for (std::uint64_t seed = 0; seed < 60; ++seed) windows.push_back(random_window(width, height, seed));
  return windows;
}

}  // namespace

TEST_CASE("parts of JPEGs of every layout and size equal the whole") {
  for (const auto& [width, height] :
       {std::pair{1, 1}, {2, 3}, {7, 5}, {16, 16}, {17, 33}, {40, 200}, {129, 66}, {290, 131}, {333, 97}}) {
    const Image image = sample_image(width, height, 3);
    for (const int layout : {TJSAMP_444, TJSAMP_422, TJSAMP_420, TJSAMP_440, TJSAMP_411, TJSAMP_GRAY}) {
      for (const int flags : {0, TJFLAG_PROGRESSIVE}) {
        const Bytes jpeg = encode(image, layout, flags);
        const Image expected = decode_whole(jpeg);
        for (const Window& window : windows_of(width, height)) {
          INFO(width << " x " << height << ", layout " << layout << ", flags " << flags);
          const std::string wrong = difference(jpeg, expected, window);
          if (!wrong.empty()) FAIL(wrong);
        }
      }
    }
  }
  SUCCEED();
}

TEST_CASE("parts of photographs equal the whole") {
  const char* shared = std::getenv("BITFALL_SHARED");
  const auto tar = std::filesystem::path(shared == nullptr ? "" : shared) / "data/imagenet/images.tar";
  if (shared == nullptr || !std::filesystem::exists(tar)) {
    std::cout << "skipped: no data/imagenet/images.tar under BITFALL_SHARED\n";
    return;
  }
  const ShardFile file(tar);
  std::int64_t compared = 0;
  for (const TarMember& member : list_members(file)) {
    if (!member.name.ends_with(".jpg")) continue;
    const Bytes jpeg = file.read(member.offset, member.bytes);
    const Image expected = decode_whole(jpeg);
    const auto needed = [&](AugmentationKind kind, std::uint64_t epoch) {
      return plan_input(expected.width, expected.height, Preprocessing{}, {kind, 7, epoch}, compared)
          .needed(expected.width, expected.height);
    };
    for (const Window& window :
         {needed(AugmentationKind::none, 0), needed(AugmentationKind::resized_crop, 0),
          needed(AugmentationKind::resized_crop, 1),
          random_window(expected.width, expected.height, static_cast<std::uint64_t>(compared))}) {
      const std::string wrong = difference(jpeg, expected, window);
      if (!wrong.empty()) FAIL("photograph " << compared << ": " << wrong);
    }
    ++compared;
  }
  std::cout << compared << " photographs, four parts each\n";
  CHECK(compared == 1000);
}

TEST_CASE("a part of a cut file is an error wherever the cut is; damage is one up to the last row needed") {
  const Bytes jpeg = encode(sample_image(290, 131, 3), TJSAMP_420, 0);
  const Window top{100, 10, 200, 40};
  Bytes memory;
  CHECK_NOTHROW(JpegFile(jpeg, "x").decode(top, memory));
  for (std::size_t size = 0; size < jpeg.size(); size += size < jpeg.size() - 20 ? 7 : 1) {
    INFO("the first " << size << " bytes");
    const Bytes cut(jpeg.begin(), jpeg.begin() + static_cast<std::ptrdiff_t>(size));
    CHECK_THROWS_AS(JpegFile(cut, "x").decode(top, memory), DataError);
  }
  // A marker in the middle of the data ends it: seen by who needs rows behind it, and by nobody else.
  const auto damaged_at = [&](std::size_t percent) {
    Bytes damaged = jpeg;
    const std::size_t at = damaged.size() * percent / 100;
    damaged[at] = 0xFF, damaged[at + 1] = 0xC9;
    return damaged;
  };
  CHECK_THROWS_AS(JpegFile(damaged_at(15), "x").decode(top, memory), DataError);
  CHECK_NOTHROW(JpegFile(damaged_at(90), "x").decode(top, memory));
  CHECK(difference(damaged_at(90), decode_whole(jpeg), top).empty());
  CHECK_THROWS_AS(JpegFile(damaged_at(90), "x").decode({100, 10, 200, 131}, memory), DataError);
  CHECK_THROWS_AS(decode_jpeg(damaged_at(90), "x"), DataError);
}

}  // namespace bitfall::test
