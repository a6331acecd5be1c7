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

double triangle(double x) {
  return std::max(0.0, 1.0 - std::abs(x));
}

/// Output pixels [begin, end) of an axis that goes from `in` to `out` pixels. The arithmetic is Pillow's
/// (precompute_coeffs, normalize_coeffs_8bpc) to the last operation: centre (i + 0.5) * in/out, support
/// max(1, in/out), weights normalised in double and rounded to 22 bits.
Taps make_taps(std::int64_t in, std::int64_t out, std::int64_t begin, std::int64_t end) {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double filter_scale = std::max(scale, 1.0);
  const double support = filter_scale;  // the triangle's half width is 1
  const double inverse = 1.0 / filter_scale;
  Taps taps;
  taps.most = static_cast<std::int64_t>(std::ceil(support)) * 2 + 1;
  taps.weights.assign(static_cast<std::size_t>((end - begin) * taps.most), 0);
  std::vector<double> exact(static_cast<std::size_t>(taps.most));
  for (std::int64_t i = begin; i < end; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    // The conversion truncates towards zero, as the cast in C does.
    const auto first = std::max<std::int64_t>(static_cast<std::int64_t>(centre - support + 0.5), 0);
    const auto last = std::min<std::int64_t>(static_cast<std::int64_t>(centre + support + 0.5), in);
    double sum = 0;
    for (std::int64_t t = 0; t < last - first; ++t) {
      exact[static_cast<std::size_t>(t)] =
          triangle((static_cast<double>(t + first) - centre + 0.5) * inverse);
      sum += exact[static_cast<std::size_t>(t)];
    }
    std::int32_t* weights = taps.weights.data() + (i - begin) * taps.most;
    for (std::int64_t t = 0; t < last - first; ++t) {
      const double weight = sum != 0.0 ? exact[static_cast<std::size_t>(t)] / sum : 0.0;
      weights[t] = static_cast<std::int32_t>(0.5 + weight * (1 << resize_precision_bits));
    }
    taps.first.push_back(first);
    taps.count.push_back(last - first);
  }
  return taps;
}

/// out[y][x] = (half + sum_t weight[x][t] * in[y][first[x] + t]) >> 22, rows [top, bottom) of the input.
/// About 3 * count multiply-adds a pixel; a crop 224 of 500 x 375 is 1.3e6 of them.
Image shrink_rows(const Image& image, const Taps& taps, std::int64_t top, std::int64_t bottom) {
  const auto width = static_cast<std::int64_t>(taps.first.size());
  Image out{width, bottom - top, {}};
  out.pixels.resize(static_cast<std::size_t>(out.width * out.height * 3));
  const std::int64_t stride = image.width * 3;
  for (std::int64_t y = top; y < bottom; ++y) {
    const std::span<const std::uint8_t> row(image.pixels.data() + y * stride,
                                            static_cast<std::size_t>(stride));
    resample_row(row, taps.first, taps.count, taps.weights.data(), taps.most,
                 out.pixels.data() + (y - top) * width * 3);
  }
  return out;
}

/// out[y] = (half + sum_t weight[y][t] * in[first[y] - top + t]) >> 22, whole rows at once. Row 0 of `image`
/// is row `top` of the full input.
Image shrink_columns(const Image& image, const Taps& taps, std::int64_t top) {
  const auto height = static_cast<std::int64_t>(taps.first.size());
  const std::int64_t stride = image.width * 3;
  Image out{image.width, height, {}};
  out.pixels.resize(static_cast<std::size_t>(stride * height));
  for (std::int64_t y = 0; y < height; ++y) {
    const auto i = static_cast<std::size_t>(y);
    blend_rows(image.pixels.data() + (taps.first[i] - top) * stride, stride,
               {taps.of(y), static_cast<std::size_t>(taps.count[i])}, stride, out.pixels.data() + y * stride);
  }
  return out;
}

}  // namespace

Image cut(const Image& image, const Window& window) {
  Image part{window.right - window.left, window.bottom - window.top, {}};
  part.pixels.assign(static_cast<std::size_t>(3 * part.width * part.height), 0);
  const std::int64_t left = std::max<std::int64_t>(window.left, 0);
  const std::int64_t right = std::min(window.right, image.width);
  for (std::int64_t y = std::max<std::int64_t>(window.top, 0); y < std::min(window.bottom, image.height);
       ++y) {
    const std::uint8_t* from = image.pixels.data() + 3 * (y * image.width + left);
    std::uint8_t* to = part.pixels.data() + 3 * ((y - window.top) * part.width + left - window.left);
    std::copy_n(from, 3 * std::max<std::int64_t>(right - left, 0), to);
  }
  return part;
}

Image resize_bilinear_window(const Image& image, std::int64_t width, std::int64_t height,
                             const Window& window) {
  BITFALL_ASSERT(image.width > 0 && image.height > 0 &&
                     static_cast<std::int64_t>(image.pixels.size()) == image.width * image.height * 3,
                 "an RGB image");
  BITFALL_ASSERT(width > 0 && height > 0, "a size");
  BITFALL_ASSERT(0 <= window.left && window.left < window.right && window.right <= width && 0 <= window.top &&
                     window.top < window.bottom && window.bottom <= height,
                 "a window inside the resized image");
  // Pillow leaves out a pass that would keep the size.
  const bool keeps_height = height == image.height;
  const Taps columns = make_taps(image.height, height, window.top, window.bottom);
  const std::int64_t top = keeps_height ? window.top : columns.first.front();
  const std::int64_t bottom = keeps_height ? window.bottom : columns.first.back() + columns.count.back();

  Image narrow =
      width == image.width
          ? cut(image, {window.left, top, window.right, bottom})
          : shrink_rows(image, make_taps(image.width, width, window.left, window.right), top, bottom);
  return keeps_height ? narrow : shrink_columns(narrow, columns, top);
}

Image resize_bilinear(const Image& image, std::int64_t width, std::int64_t height) {
  return resize_bilinear_window(image, width, height, {0, 0, width, height});
}

}  // namespace bitfall
