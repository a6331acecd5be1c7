#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "bitfall/errors.hpp"
#include "bitfall/images.hpp"
#include "input_plan.hpp"

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

}  // namespace

Preprocessing preprocessing_from_name(const std::string& name) {
  if (is_preset(name)) return preset(name);
  if (std::filesystem::is_regular_file(name)) return from_file(name);
  throw UsageError("--preprocess: '" + name + "' is neither imagenet, cifar, detection nor a TOML file");
}

void preprocess(const Image& image, const Preprocessing& preprocessing, std::span<float> out) {
  preprocess(image, preprocessing, Augmentation{}, 0, out);
}

void preprocess(const Image& image, const Preprocessing& preprocessing, const Augmentation& augmentation,
                std::int64_t index, std::span<float> out) {
  BITFALL_ASSERT(image.width > 0 && image.height > 0 &&
                     static_cast<std::int64_t>(image.pixels.size()) == image.width * image.height * 3,
                 "an RGB image");
  const InputPlan plan = plan_input(image.width, image.height, preprocessing, augmentation, index);
  InputMemory memory;
  make_input(whole(image), plan, Normaliser(preprocessing), memory, out);
}

}  // namespace bitfall
