#include "plan_rules.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "bitfall/errors.hpp"
#include "nearest_name.hpp"

namespace bitfall {
namespace {

// ResNet-18 keeps d = 4 for its three 1x1 convolutions even in the large regime; its classifier has 2048
// codewords, ResNet-50's 1024 (paper, section 5.1).
const Preset resnet18{"resnet18", 2048, 4};
const Preset resnet50{"resnet50", 1024, 8};

/// torchvision's maskrcnn_resnet50_fpn as the paper compresses it: 256 codewords everywhere, d
/// 16 for the largest linear layer; the first convolution (by its own rule) and the last layers of the heads
/// stay.
Preset mask_rcnn() {
  Preset preset{"mask-rcnn", 256, 8};
  const auto add = [&](const char* pattern, std::optional<std::int64_t> d, std::optional<bool> quantize) {
    PlanOverride entry;
    entry.pattern = pattern;
    entry.d = d;
    entry.quantize = quantize;
    preset.overrides.push_back(std::move(entry));
  };
  add("*box_head.fc6", 16, std::nullopt);
  for (const char* pattern : {"*rpn.head.cls_logits", "*rpn.head.bbox_pred", "*mask_fcn_logits"})
    add(pattern, std::nullopt, false);
  return preset;
}

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
  if (name == "mask-rcnn") return mask_rcnn();
  if (name == "auto") return is_bottleneck_network(layers) ? resnet50 : resnet18;
  const std::vector<std::string> known = {"auto", "resnet18", "resnet50", "mask-rcnn"};
  throw ConfigError("unknown preset '" + name + "': did you mean '" + nearest_name(name, known) +
                    "'? Known presets: auto, resnet18, resnet50, mask-rcnn");
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

std::int64_t natural_block(const Layer& layer) {
  constexpr std::int64_t least = 4, most = 9, longest_row = 16;
  std::int64_t unit = 1;
  for (std::size_t axis = layer.weight_shape.size(); axis-- > 2;) {
    const std::int64_t size = layer.weight_shape[axis];
    if (unit > 1 && unit * size > most) break;
    unit *= size;
  }
  if (unit > longest_row) {  // a part of a row
    std::int64_t part = most;
    while (unit % part != 0) --part;
    unit = part < least ? least : part;
  }
  return (least + unit - 1) / unit * unit;
}

std::vector<std::int64_t> candidate_block_sizes(const Layer& layer, Regime regime, const Preset& preset) {
  const bool large = regime == Regime::large;
  std::vector<std::int64_t> sizes;
  if (layer.kind == LayerKind::convolution) {
    if (is_pointwise(layer)) {
      sizes.push_back(large ? preset.pointwise_d_large : 4);
    } else {
      if (large) sizes.push_back(2 * natural_block(layer));
      sizes.push_back(natural_block(layer));
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
