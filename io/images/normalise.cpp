#include "normalise.hpp"

#include <array>

#include "bitfall/errors.hpp"

namespace bitfall {

namespace {

/// Pillow's RGB to L (ITU-R 601-2): (R * 19595 + G * 38470 + B * 7471 + 2^15) >> 16.
std::uint8_t luma(const std::uint8_t* rgb) {
  return static_cast<std::uint8_t>((rgb[0] * 19595U + rgb[1] * 38470U + rgb[2] * 7471U + 0x8000U) >> 16);
}

}  // namespace

Normaliser::Normaliser(const Preprocessing& preprocessing) : channels_(preprocessing.channels) {
  for (std::size_t channel = 0; channel < 3; ++channel) {
    const float mean = preprocessing.mean[channel], std = preprocessing.std[channel];
    scales_[channel] = {mean, std, Reciprocal(std)};
    for (std::size_t v = 0; v < 256; ++v) tables_[channel][v] = (static_cast<float>(v) / 255.0F - mean) / std;
  }
  if (channels_ == 3) is_arithmetic_exact_ = arithmetic_equals_tables();
}

bool Normaliser::arithmetic_equals_tables() const {
  std::array<std::uint8_t, 3 * 256> bytes;
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i / 3);
  std::array<float, 3 * 256> values;
  normalise_row(bytes.data(), 256, scales_, false, values.data(), 256);
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!(values[i] == tables_[i / 256][i % 256])) return false;
  return true;
}

void Normaliser::write(const ImagePart& part, const Window& window, bool flip, std::span<float> out) const {
  const std::int64_t width = window.width(), plane = width * window.height();
  BITFALL_ASSERT(static_cast<std::int64_t>(out.size()) == plane * channels_, "size of an input");
  for (std::int64_t y = 0; y < window.height(); ++y) {
    const std::uint8_t* rgb = part.at(window.left, window.top + y);
    float* row = out.data() + y * width;
    if (is_arithmetic_exact_)
      normalise_row(rgb, width, scales_, flip, row, plane);
    else
      look_up_row(rgb, width, flip, row, plane);
  }
}

void Normaliser::look_up_row(const std::uint8_t* rgb, std::int64_t width, bool flip, float* out,
                             std::int64_t plane) const {
  const std::int64_t step = flip ? -1 : 1;
  float* to = flip ? out + width - 1 : out;
  for (std::int64_t x = 0; x < width; ++x, rgb += 3, to += step) {
    if (channels_ == 1) {
      *to = tables_[0][luma(rgb)];
      continue;
    }
    for (std::int64_t channel = 0; channel < 3; ++channel)
      to[channel * plane] = tables_[static_cast<std::size_t>(channel)][rgb[channel]];
  }
}

}  // namespace bitfall
