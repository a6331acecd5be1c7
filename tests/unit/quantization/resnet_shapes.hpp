#pragma once
/// The layer tables of torchvision's ResNet-18/50 and of CIFAR's ResNet-20, written down without LibTorch.
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "bitfall/layer.hpp"

namespace bitfall::testing {

struct NetworkShapes {
  std::vector<Layer> layers;
  std::vector<TensorInfo> tensors;

  Layer& add_convolution(const std::string& name, std::int64_t out, std::int64_t in, std::int64_t kernel,
                         std::int64_t groups = 1) {
    Layer layer;
    layer.name = name;
    layer.weight_name = name + ".weight";
    layer.weight_shape = {out, in / groups, kernel, kernel};
    layer.groups = groups;
    layers.push_back(layer);
    tensors.push_back({layer.weight_name, "float32", layer.weight_shape, TensorRole::weight, {}});
    return layers.back();
  }

  void add_batch_norm(const std::string& name, std::int64_t channels) {
    tensors.push_back({name + ".weight", "float32", {channels}, TensorRole::batch_norm_scale, {}});
    tensors.push_back({name + ".bias", "float32", {channels}, TensorRole::batch_norm_shift, {}});
    tensors.push_back({name + ".running_mean", "float32", {channels}, TensorRole::batch_norm_mean, {}});
    tensors.push_back({name + ".running_var", "float32", {channels}, TensorRole::batch_norm_variance, {}});
    tensors.push_back({name + ".num_batches_tracked", "int64", {}, TensorRole::buffer, {}});
  }

  void add_linear(const std::string& name, std::int64_t out, std::int64_t in) {
    Layer layer;
    layer.name = name;
    layer.weight_name = name + ".weight";
    layer.kind = LayerKind::linear;
    layer.weight_shape = {out, in};
    layers.push_back(layer);
    tensors.push_back({layer.weight_name, "float32", layer.weight_shape, TensorRole::weight, {}});
    tensors.push_back({name + ".bias", "float32", {out}, TensorRole::bias, {}});
  }
};

/// torchvision.models.resnet18: basic blocks.
inline NetworkShapes resnet18() {
  NetworkShapes net;
  net.add_convolution("conv1", 64, 3, 7);
  net.add_batch_norm("bn1", 64);
  std::int64_t in = 64;
  for (int stage = 1; stage <= 4; ++stage) {
    const std::int64_t width = std::int64_t{32} << stage;
    for (int block = 0; block < 2; ++block) {
      const std::string name = "layer" + std::to_string(stage) + "." + std::to_string(block) + ".";
      net.add_convolution(name + "conv1", width, in, 3);
      net.add_batch_norm(name + "bn1", width);
      net.add_convolution(name + "conv2", width, width, 3);
      net.add_batch_norm(name + "bn2", width);
      if (in != width) {
        net.add_convolution(name + "downsample.0", width, in, 1);
        net.add_batch_norm(name + "downsample.1", width);
      }
      in = width;
    }
  }
  net.add_linear("fc", 1000, 512);
  return net;
}

/// torchvision.models.resnet50, or with other numbers of blocks resnet101 and resnet152: bottlenecks.
inline NetworkShapes bottleneck_resnet(const std::vector<int>& blocks = {3, 4, 6, 3}) {
  NetworkShapes net;
  net.add_convolution("conv1", 64, 3, 7);
  net.add_batch_norm("bn1", 64);
  std::int64_t in = 64;
  for (int stage = 1; stage <= 4; ++stage) {
    const std::int64_t width = std::int64_t{32} << stage;
    for (int block = 0; block < blocks[static_cast<std::size_t>(stage - 1)]; ++block) {
      const std::string name = "layer" + std::to_string(stage) + "." + std::to_string(block) + ".";
      net.add_convolution(name + "conv1", width, in, 1);
      net.add_batch_norm(name + "bn1", width);
      net.add_convolution(name + "conv2", width, width, 3);
      net.add_batch_norm(name + "bn2", width);
      net.add_convolution(name + "conv3", 4 * width, width, 1);
      net.add_batch_norm(name + "bn3", 4 * width);
      if (block == 0) {
        net.add_convolution(name + "downsample.0", 4 * width, in, 1);
        net.add_batch_norm(name + "downsample.1", 4 * width);
      }
      in = 4 * width;
    }
  }
  net.add_linear("fc", 1000, 2048);
  return net;
}

/// ResNet-20 of CIFAR-10 with option-A shortcuts (no parameters in them).
inline NetworkShapes resnet20() {
  NetworkShapes net;
  net.add_convolution("conv1", 16, 3, 3);
  net.add_batch_norm("bn1", 16);
  std::int64_t in = 16;
  for (int stage = 1; stage <= 3; ++stage) {
    const std::int64_t width = std::int64_t{8} << stage;
    for (int block = 0; block < 3; ++block) {
      const std::string name = "layer" + std::to_string(stage) + "." + std::to_string(block) + ".";
      net.add_convolution(name + "conv1", width, in, 3);
      net.add_batch_norm(name + "bn1", width);
      net.add_convolution(name + "conv2", width, width, 3);
      net.add_batch_norm(name + "bn2", width);
      in = width;
    }
  }
  net.add_linear("linear", 10, 64);
  return net;
}

}  // namespace bitfall::testing
