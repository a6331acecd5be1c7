// The vector code of resize and normalisation against their definitions, on every target of this machine.
#include <hwy/highway.h>
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <string>

#include "bitfall/random.hpp"
#include "catch.hpp"
#include "io/images/normalise.hpp"
#include "io/images/resize.hpp"

namespace bitfall::test {

namespace {

/// The random number `counter` below `bound`.
std::int64_t below(std::int64_t bound, std::uint64_t counter) {
  return static_cast<std::int64_t>(random_below(3, 11, counter, static_cast<std::uint64_t>(bound)));
}

/// Noise, a third of it black or white, which reaches the clamps.
Image noise(std::int64_t width, std::int64_t height, std::uint64_t seed) {
  Image image{width, height, std::vector<std::uint8_t>(static_cast<std::size_t>(width * height * 3))};
  for (std::size_t i = 0; i < image.pixels.size(); ++i)
    image.pixels[i] =
        static_cast<std::uint8_t>(std::clamp<std::int64_t>(below(384, seed << 32 | i) - 64, 0, 255));
  return image;
}

/// An axis by its definition: `out` values, each of all the values of `in`.
std::vector<std::uint8_t> resize_line(const std::vector<std::uint8_t>& in, std::int64_t size) {
  const auto count = static_cast<double>(in.size()), scale = count / static_cast<double>(size);
  if (scale == 1) return in;
  const double inverse = 1.0 / std::max(1.0, scale);
  std::vector<std::uint8_t> out;
  for (std::int64_t i = 0; i < size; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const auto triangle = [&](std::size_t x) {
      return std::max(0.0, 1 - std::abs((static_cast<double>(x) - centre + 0.5) * inverse));
    };
    double all = 0;
    for (std::size_t x = 0; x < in.size(); ++x) all += triangle(x);
    std::int64_t sum = 1 << 21;
    for (std::size_t x = 0; x < in.size(); ++x)
      sum += in[x] * static_cast<std::int64_t>(0.5 + triangle(x) / all * (1 << 22));
    out.push_back(static_cast<std::uint8_t>(std::clamp<std::int64_t>(sum >> 22, 0, 255)));
  }
  return out;
}

Image resize_slowly(const Image& image, std::int64_t width, std::int64_t height) {
  Image narrow{width, image.height,
               std::vector<std::uint8_t>(static_cast<std::size_t>(3 * width * image.height))};
  Image small{width, height, std::vector<std::uint8_t>(static_cast<std::size_t>(3 * width * height))};
  const auto resize_all = [](const Image& from, Image& to, bool is_row) {
    const std::int64_t lines = is_row ? from.height : from.width, length = is_row ? from.width : from.height;
    for (std::int64_t i = 0; i < 3 * lines; ++i) {
      const auto at = [&](const Image& in, std::int64_t k) {
        const std::int64_t x = is_row ? k : i / 3, y = is_row ? i / 3 : k;
        return static_cast<std::size_t>(3 * (y * in.width + x) + i % 3);
      };
      std::vector<std::uint8_t> line;
      for (std::int64_t k = 0; k < length; ++k) line.push_back(from.pixels[at(from, k)]);
      line = resize_line(line, is_row ? to.width : to.height);
      for (std::size_t k = 0; k < line.size(); ++k) to.pixels[at(to, static_cast<std::int64_t>(k))] = line[k];
    }
  };
  resize_all(image, narrow, true);
  resize_all(narrow, small, false);
  return small;
}

Image cut(const Image& image, const Window& window) {
  Image result{window.width(), window.height(), {}};
  for (std::int64_t y = window.top; y < window.bottom; ++y) {
    const std::uint8_t* row = image.pixels.data() + 3 * (y * image.width + window.left);
    result.pixels.insert(result.pixels.end(), row, row + 3 * window.width());
  }
  return result;
}

/// Resizes the pixels of `window` from just those that it is made of.
std::vector<std::uint8_t> resize_window(const Image& image, const ResizedWindow& resized) {
  const Window source = resized.source();
  const Image needed = cut(image, source);
  ResizeMemory memory;
  const ImagePart part = resize_part({source, needed.pixels.data()}, resized, memory);
  Image got{part.window.width(),
            part.window.height(),
            {part.pixels, part.pixels + part.stride() * part.window.height()}};
  const Window& there = part.window;
  return cut(got, {resized.window.left - there.left, resized.window.top - there.top,
                   resized.window.right - there.left, resized.window.bottom - there.top})
      .pixels;
}

/// `check` on each target that this machine has, the portable one among them.
void on_all_targets(const std::function<void(const std::string&)>& check) {
  const std::int64_t all = hwy::SupportedTargets();
  for (const std::int64_t target : {all, std::int64_t{HWY_EMU128}}) {
    hwy::SetSupportedTargetsForTest(target);
    check("targets " + std::to_string(target));
    hwy::SetSupportedTargetsForTest(0);
  }
}

struct Sizes {
  std::int64_t width, height, to_width, to_height;
};

/// One to hundreds of taps; results of all remainders by four pixels and by 32 bytes; some axes stay.
std::vector<Sizes> all_sizes() {
  std::vector<Sizes> sizes{{1, 1, 1, 1},   {1, 1, 9, 9},     {341, 9, 224, 7}, {9, 260, 11, 224},
                           {700, 3, 5, 6}, {3, 700, 6, 5},   {60, 50, 60, 21}, {60, 50, 21, 50},
                           {2, 2, 33, 34}, {500, 4, 224, 4}, {5, 5, 6, 70},    {130, 90, 64, 43}};
  for (std::uint64_t i = 0; i < 60; ++i)
    sizes.push_back(
        {1 + below(70, 4 * i), 1 + below(70, 4 * i + 1), 1 + below(60, 4 * i + 2), 1 + below(60, 4 * i + 3)});
  return sizes;
}

}  // namespace

TEST_CASE("a resize is its definition, whole and in windows") {
  std::uint64_t seed = 0;
  for (const Sizes& sizes : all_sizes()) {
    const std::int64_t width = sizes.to_width, height = sizes.to_height;
    const Image image = noise(sizes.width, sizes.height, ++seed);
    const Image expected = resize_slowly(image, width, height);
    const std::int64_t left = below(width, seed + 1000), top = below(height, seed + 2000);
    const Window window{left, top, left + 1 + below(width - left, seed + 3000),
                        top + 1 + below(height - top, seed + 4000)};
    on_all_targets([&](const std::string& target) {
      INFO(target << ": " << image.width << " x " << image.height << " to " << width << " x " << height);
      CHECK(resize_bilinear(image, width, height).pixels == expected.pixels);
      CHECK(resize_window(image, {image.width, image.height, width, height, window}) ==
            cut(expected, window).pixels);
    });
  }
}

TEST_CASE("normalised values have the bits of the division, mirrored too") {
  Preprocessing preprocessing;
  for (const float std : {0.229F, 1.0F, 0.3F, 1e-3F, 77.7F}) {
    preprocessing.std[1] = std;
    on_all_targets([&](const std::string& target) {
      const Normaliser normaliser(preprocessing);
      for (const std::int64_t width : {1, 2, 7, 8, 9, 15, 16, 31, 224, 256}) {
        const Image image = noise(width, 3, static_cast<std::uint64_t>(width));
        for (const bool flip : {false, true}) {
          INFO(target << ", std " << std << ", width " << width << ", flip " << flip);
          std::vector<float> got(static_cast<std::size_t>(9 * width)), expected;
          normaliser.write(whole(image), {0, 0, width, 3}, flip, got);
          for (std::int64_t i = 0; i < 9 * width; ++i) {  // plane, row, column
            const std::int64_t c = i / (3 * width), y = i / width % 3,
                               x = flip ? width - 1 - i % width : i % width;
            const auto value =
                static_cast<float>(image.pixels[static_cast<std::size_t>(3 * (y * width + x) + c)]);
            const auto channel = static_cast<std::size_t>(c);
            expected.push_back((value / 255.0F - preprocessing.mean[channel]) / preprocessing.std[channel]);
          }
          CHECK(std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)) == 0);
        }
      }
    });
  }
}

}  // namespace bitfall::test
