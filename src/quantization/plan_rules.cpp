#include "plan_rules.hpp"

#include <algorithm>

#include "bitfall/errors.hpp"
#include "nearest_name.hpp"

namespace bitfall {
namespace {

// ResNet-18 keeps d = 4 for its three 1x1 convolutions even in the large regime; its classifier has 2048
// codewords, ResNet-50's 1024 (paper, section 5.1).
const Preset resnet18{"resnet18", 2048, 4};
const Preset resnet50{"resnet50", 1024, 8};

bool is_pointwise(const Layer& layer) {
  return layer.kind == LayerKind::convolution && layer.kernel_elements() == 1;
}

/// Most of the convolutions that will be quantized are 1x1. Counted in layers, not in weights: by weights
/// ResNet-50 is 52 % pointwise and ResNet-101, built of the same bottlenecks, 49.7 %.
bool is_bottleneck_network(std::span<const Layer> layers) {
  std::int64_t pointwise = 0, others = 0;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (layers[i].kind != LayerKind::convolution || !layers[i].obstacle.empty() ||
        !reason_to_leave_alone(layers, i).empty()) {
      continue;
    }
    ++(is_pointwise(layers[i]) ? pointwise : others);
  }
  return pointwise > others;
}

}  // namespace

Preset choose_preset(const std::string& name, std::span<const Layer> layers) {
  if (name == "resnet18") return resnet18;
  if (name == "resnet50") return resnet50;
  if (name == "auto") return is_bottleneck_network(layers) ? resnet50 : resnet18;
  const std::vector<std::string> known = {"auto", "resnet18", "resnet50"};
  throw ConfigError("unknown preset '" + name + "': did you mean '" + nearest_name(name, known) +
                    "'? Known presets: auto, resnet18, resnet50");
}

bool is_depthwise(const Layer& layer) {
  return layer.kind == LayerKind::convolution && layer.groups > 1 && layer.weight_shape.size() > 1 &&
         layer.weight_shape[1] == 1;
}

std::string reason_to_leave_alone(std::span<const Layer> layers, std::size_t index) {
  const Layer& layer = layers[index];
  if (index == 0 && layer.kind == LayerKind::convolution) {
    return "first convolution: few weights, and every later layer depends on it";
  }
  if (is_depthwise(layer))
    return "depthwise convolution: few weights, and no sum over channels evens out errors";
  return "";
}

std::vector<std::int64_t> candidate_block_sizes(const Layer& layer, Regime regime, const Preset& preset) {
  const bool large = regime == Regime::large;
  std::vector<std::int64_t> sizes;
  if (layer.kind == LayerKind::convolution) {
    if (is_pointwise(layer)) {
      sizes.push_back(large ? preset.pointwise_d_large : 4);
    } else {
      if (large) sizes.push_back(2 * layer.kernel_elements());
      sizes.push_back(layer.kernel_elements());
    }
  }
  for (const std::int64_t fallback : {4, 2}) {
    if (std::find(sizes.begin(), sizes.end(), fallback) == sizes.end()) sizes.push_back(fallback);
  }
  return sizes;
}

std::int64_t most_k(std::int64_t n, bool bits_have_a_price) {
  return bits_have_a_price ? std::max<std::int64_t>(1, n / 2) : largest_k(n);
}

}  // namespace bitfall
