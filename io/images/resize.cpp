/// Pillow's bilinear resize (Resample.c): separable, antialiased, 8-bit between the passes.
#include "resize.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include "bitfall/errors.hpp"
#include "resize_kernels.hpp"

namespace bitfall {

namespace {

/// Which input pixels make output pixel i of one axis, and with what fixed-point weights.
struct Taps {
  std::int64_t most = 0;  ///< weights stored for each output pixel
  std::vector<std::int64_t> first, count;
  std::vector<std::int32_t> weights;  ///< [output pixel][most]

  [[nodiscard]] const std::int32_t* of(std::int64_t i) const { return weights.data() + i * most; }
};

/// Room for the pixels of `window` in `memory`.
ImagePart new_part(const Window& window, std::vector<std::uint8_t>& memory) {
  memory.resize(static_cast<std::size_t>(3 * window.width() * window.height()));
  return {window, memory.data()};
}

double triangle(double x) {
  return std::max(0.0, 1.0 - std::abs(x));
}

/// The triangle filter of an axis that goes from `in` to `out` pixels. The arithmetic is Pillow's
/// (precompute_coeffs, normalize_coeffs_8bpc) to the last operation: centre (i + 0.5) * in/out, support
/// max(1, in/out).
struct Filter {
  std::int64_t in;
  double scale;
  double support = std::max(scale, 1.0);  // the triangle's half width is 1

  Filter(std::int64_t from, std::int64_t to)
      : in(from), scale(static_cast<double>(from) / static_cast<double>(to)) {}

  [[nodiscard]] double centre(std::int64_t i) const { return (static_cast<double>(i) + 0.5) * scale; }
  /// Input pixels [first, last) of output pixel i. The conversion truncates towards zero, as the cast in C
  /// does.
  [[nodiscard]] std::int64_t first(std::int64_t i) const {
    return std::max<std::int64_t>(static_cast<std::int64_t>(centre(i) - support + 0.5), 0);
  }
  [[nodiscard]] std::int64_t last(std::int64_t i) const {
    return std::min<std::int64_t>(static_cast<std::int64_t>(centre(i) + support + 0.5), in);
  }
};

/// Output pixels [begin, end) of an axis: weights normalised in double and rounded to 22 bits. Positions
/// count from input pixel `origin`.
Taps make_taps(const Filter& filter, std::int64_t begin, std::int64_t end, std::int64_t origin) {
  const double inverse = 1.0 / filter.support;
  Taps taps;
  taps.first.reserve(static_cast<std::size_t>(end - begin));
  taps.count.reserve(static_cast<std::size_t>(end - begin));
  taps.most = static_cast<std::int64_t>(std::ceil(filter.support)) * 2 + 1;
  taps.weights.assign(static_cast<std::size_t>((end - begin) * taps.most), 0);
  std::vector<double> exact(static_cast<std::size_t>(taps.most));
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int64_t first = filter.first(i), count = filter.last(i) - first;
    double sum = 0;
    for (std::int64_t t = 0; t < count; ++t) {
      exact[static_cast<std::size_t>(t)] =
          triangle((static_cast<double>(t + first) - filter.centre(i) + 0.5) * inverse);
      sum += exact[static_cast<std::size_t>(t)];
    }
    std::int32_t* weights = taps.weights.data() + (i - begin) * taps.most;
    for (std::int64_t t = 0; t < count; ++t) {
      const double weight = sum != 0.0 ? exact[static_cast<std::size_t>(t)] / sum : 0.0;
      weights[t] = static_cast<std::int32_t>(0.5 + weight * (1 << resize_precision_bits));
    }
    taps.first.push_back(first - origin);
    taps.count.push_back(count);
  }
  return taps;
}

/// The first pass: out[y][x] = (half + sum_t weight[x][t] * in[y][first[x] + t]) >> 22 for all rows of the
/// part. About 3 * count multiply-adds a pixel; a crop 224 of 500 x 375 is 1.3e6 of them.
ImagePart shrink_rows(const ImagePart& part, const Taps& taps, const Window& window,
                      std::vector<std::uint8_t>& memory) {
  const ImagePart out = new_part(window, memory);
  const RowTaps row{taps.first, taps.weights.data(), taps.most,
                    *std::max_element(taps.count.begin(), taps.count.end())};
  const std::int64_t left = part.window.left;
  resample_rows(row, {part.at(left, window.top), part.at(left, part.window.bottom)}, part.stride(),
                window.height(), memory.data());
  return out;
}

/// The second pass: out[y] = (half + sum_t weight[y][t] * in[first[y] + t]) >> 22, whole rows at once.
ImagePart shrink_columns(const ImagePart& part, const Taps& taps, const Window& window,
                         std::vector<std::uint8_t>& memory) {
  const ImagePart out = new_part(window, memory);
  for (std::int64_t y = 0; y < window.height(); ++y) {
    const auto i = static_cast<std::size_t>(y);
    blend_rows(part.at(window.left, taps.first[i]), part.stride(),
               {taps.of(y), static_cast<std::size_t>(taps.count[i])}, out.stride(),
               memory.data() + y * out.stride());
  }
  return out;
}

}  // namespace

Window ResizedWindow::source() const {
  // Pillow leaves out a pass that would keep the size.
  const Filter rows(from_width, to_width), columns(from_height, to_height);
  const bool same_width = from_width == to_width, same_height = from_height == to_height;
  return {same_width ? window.left : rows.first(window.left),
          same_height ? window.top : columns.first(window.top),
          same_width ? window.right : rows.last(window.right - 1),
          same_height ? window.bottom : columns.last(window.bottom - 1)};
}

ImagePart resize_part(const ImagePart& part, const ResizedWindow& resized, ResizeMemory& memory) {
  const auto& [from_width, from_height, width, height, window] = resized;
  BITFALL_ASSERT(from_width > 0 && from_height > 0 && width > 0 && height > 0, "a size");
  BITFALL_ASSERT((Window{0, 0, width, height}.contains(window)) && window.width() > 0 && window.height() > 0,
                 "a window inside the resized image");
  const Window source = resized.source();
  BITFALL_ASSERT(part.window.contains(source), "the pixels that a window is made of");
  ImagePart narrow = part;
  if (width != from_width) {
    const Taps taps = make_taps(Filter(from_width, width), window.left, window.right, part.window.left);
    narrow = shrink_rows(part, taps, {window.left, source.top, window.right, source.bottom}, memory.narrow);
  }
  if (height == from_height) return narrow;
  return shrink_columns(narrow, make_taps(Filter(from_height, height), window.top, window.bottom, 0), window,
                        memory.small);
}

Image resize_bilinear(const Image& image, std::int64_t width, std::int64_t height) {
  BITFALL_ASSERT(static_cast<std::int64_t>(image.pixels.size()) == image.width * image.height * 3,
                 "an RGB image");
  ResizeMemory memory;
  const Window window{0, 0, width, height};
  const ImagePart part =
      resize_part(whole(image), {image.width, image.height, width, height, window}, memory);
  return {width, height, {part.pixels, part.pixels + part.stride() * height}};
}

}  // namespace bitfall
