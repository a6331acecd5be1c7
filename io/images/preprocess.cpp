#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "augment.hpp"
#include "bitfall/errors.hpp"
#include "bitfall/images.hpp"
#include "resize.hpp"

namespace bitfall {

namespace {

Preprocessing preset(const std::string& name) {
  Preprocessing result;
  result.name = name;
  if (name == "cifar") result.resize = 0, result.crop = 32;
  if (name == "detection") {
    result.resize = result.crop = 0;
    result.mean = {0, 0, 0};
    result.std = {1, 1, 1};
  }
  return result;
}

bool is_preset(const std::string& name) {
  return name == "imagenet" || name == "cifar" || name == "detection";
}

std::array<float, 3> three_numbers(const toml::node& node, const std::string& path, const std::string& key) {
  const toml::array* array = node.as_array();
  if (array == nullptr || array->size() != 3) throw ConfigError(path + ": " + key + " must be three numbers");
  std::array<float, 3> values{};
  for (std::size_t i = 0; i < 3; ++i) {
    const auto value = (*array)[i].value<double>();
    if (!value || !std::isfinite(static_cast<float>(*value)))
      throw ConfigError(path + ": " + key + " must be three numbers");
    values[i] = static_cast<float>(*value);
  }
  return values;
}

std::int64_t integer(const toml::node& node, const std::string& path, const std::string& key) {
  const auto value = node.value_exact<std::int64_t>();
  if (!value || *value < 0 || *value > 65500)
    throw ConfigError(path + ": " + key + " must be an integer from 0 to 65500");
  return *value;
}

Preprocessing from_file(const std::string& path) {
  toml::table table;
  try {
    table = toml::parse_file(path);
  } catch (const toml::parse_error& error) {
    throw ConfigError(path + ":" + std::to_string(error.source().begin.line) + ": " +
                      std::string(error.description()));
  }
  Preprocessing result;
  if (const toml::node* base = table.get("base"); base != nullptr) {
    const auto name = base->value<std::string>();
    if (!name || !is_preset(*name))
      throw ConfigError(path + ": base must be 'imagenet', 'cifar' or 'detection'");
    result = preset(*name);
  }
  result.name = path;
  for (const auto& [name, node] : table) {
    const std::string key(name.str());
    if (key == "base") continue;
    if (key == "resize")
      result.resize = integer(node, path, key);
    else if (key == "crop")
      result.crop = integer(node, path, key);
    else if (key == "channels")
      result.channels = integer(node, path, key);
    else if (key == "mean")
      result.mean = three_numbers(node, path, key);
    else if (key == "std")
      result.std = three_numbers(node, path, key);
    else
      throw ConfigError(path + ": unknown key '" + key + "'; known: base, resize, crop, channels, mean, std");
  }
  if (result.channels != 1 && result.channels != 3) throw ConfigError(path + ": channels must be 1 or 3");
  for (const float value : result.std) {
    if (!(value > 0)) throw ConfigError(path + ": std must be positive");
  }
  return result;
}

/// torchvision's centre crop: int(round((size - crop) / 2)), Python's round going to the even neighbour.
std::int64_t crop_offset(std::int64_t size, std::int64_t crop) {
  return static_cast<std::int64_t>(std::nearbyint(static_cast<double>(size - crop) / 2.0));
}

/// torchvision's Resize(short side): the other side is int(resize * long / short).
std::array<std::int64_t, 2> resized(std::int64_t width, std::int64_t height, std::int64_t resize) {
  if (resize == 0) return {width, height};
  const std::int64_t other = resize * std::max(width, height) / std::min(width, height);
  return width <= height ? std::array{resize, other} : std::array{other, resize};
}

/// Pillow's RGB to L (ITU-R 601-2): (R * 19595 + G * 38470 + B * 7471 + 2^15) >> 16.
std::uint8_t luma(const std::uint8_t* rgb) {
  return static_cast<std::uint8_t>((rgb[0] * 19595U + rgb[1] * 38470U + rgb[2] * 7471U + 0x8000U) >> 16);
}

/// ToTensor + Normalize of a window of the image. Exact: /255 and the normalisation are single-precision
/// operations, in torchvision's order.
void normalise(const Image& image, const Window& window, const Preprocessing& preprocessing,
               std::span<float> out) {
  const std::int64_t width = window.right - window.left, height = window.bottom - window.top;
  const std::int64_t pixels = width * height;
  BITFALL_ASSERT(static_cast<std::int64_t>(out.size()) == pixels * preprocessing.channels,
                 "size of an input");
  // A byte has 256 values: the arithmetic is done for each of them, not for each pixel.
  std::array<std::array<float, 256>, 3> tables;
  for (std::size_t channel = 0; channel < static_cast<std::size_t>(preprocessing.channels); ++channel)
    for (std::size_t v = 0; v < 256; ++v)
      tables[channel][v] =
          (static_cast<float>(v) / 255.0F - preprocessing.mean[channel]) / preprocessing.std[channel];
  for (std::int64_t y = 0; y < height; ++y) {
    const std::uint8_t* rgb = image.pixels.data() + 3 * ((window.top + y) * image.width + window.left);
    float* red = out.data() + y * width;
    if (preprocessing.channels == 1) {
      for (std::int64_t x = 0; x < width; ++x, rgb += 3) red[x] = tables[0][luma(rgb)];
      continue;
    }
    float* green = red + pixels;
    float* blue = green + pixels;
    for (std::int64_t x = 0; x < width; ++x, rgb += 3) {
      red[x] = tables[0][rgb[0]];
      green[x] = tables[1][rgb[1]];
      blue[x] = tables[2][rgb[2]];
    }
  }
}

}  // namespace

Preprocessing preprocessing_from_name(const std::string& name) {
  if (is_preset(name)) return preset(name);
  if (std::filesystem::is_regular_file(name)) return from_file(name);
  throw UsageError("--preprocess: '" + name + "' is neither imagenet, cifar, detection nor a TOML file");
}

std::array<std::int64_t, 2> input_size(std::int64_t width, std::int64_t height,
                                       const Preprocessing& preprocessing) {
  if (preprocessing.crop > 0) return {preprocessing.crop, preprocessing.crop};
  return resized(width, height, preprocessing.resize);
}

void preprocess(const Image& image, const Preprocessing& preprocessing, std::span<float> out) {
  const auto [width, height] = resized(image.width, image.height, preprocessing.resize);
  const auto [across, down] = input_size(image.width, image.height, preprocessing);
  if (width < across || height < down) {
    throw DataError("an image of " + std::to_string(width) + " x " + std::to_string(height) +
                    " pixels is smaller than the crop of " + std::to_string(preprocessing.crop) +
                    "; choose another --preprocess");
  }
  const std::int64_t left = crop_offset(width, across), top = crop_offset(height, down);
  const Window window{left, top, left + across, top + down};
  if (width == image.width && height == image.height) return normalise(image, window, preprocessing, out);
  normalise(resize_bilinear_window(image, width, height, window), Window{0, 0, across, down}, preprocessing,
            out);
}

void preprocess(const Image& image, const Preprocessing& preprocessing, const Augmentation& augmentation,
                std::int64_t index, std::span<float> out) {
  if (augmentation.kind == AugmentationKind::none) return preprocess(image, preprocessing, out);
  const Image varied = augment(image, preprocessing, augmentation, index);
  normalise(varied, Window{0, 0, varied.width, varied.height}, preprocessing, out);
}

}  // namespace bitfall
