#include "calibration/layer_window.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "bitfall/errors.hpp"

namespace bitfall {
namespace {

std::string shape_text(const at::Tensor& tensor) {
  std::string text;
  for (const std::int64_t size : tensor.sizes()) text += (text.empty() ? "[" : ", ") + std::to_string(size);
  return (text.empty() ? "[" : text) + "]";
}

}  // namespace

void refuse_input(const Layer& layer, const at::Tensor& input) {
  throw DataError("layer '" + layer.name + "' got an input of shape " + shape_text(input) +
                  ", which does not fit its weight");
}

WindowShape window_shape(const Layer& layer, const at::Tensor& input) {
  if (layer.weight_shape.size() != 4 || layer.transposed) {
    throw DataError("layer '" + layer.name +
                    "': Gram matrices exist for convolutions that are not transposed, and linear layers");
  }
  WindowShape shape;
  shape.channels = layer.weight_shape[1];
  if (input.dim() != 4 || input.size(1) != shape.channels * layer.groups) refuse_input(layer, input);
  for (std::size_t axis = 0; axis < 2; ++axis) {
    shape.input[axis] = input.size(static_cast<std::int64_t>(axis) + 2);
    shape.kernel[axis] = layer.weight_shape[axis + 2];
    shape.stride[axis] = layer.stride.at(axis);
    shape.padding[axis] = layer.padding.at(axis);
    shape.dilation[axis] = layer.dilation.at(axis);
    if (shape.output(static_cast<int>(axis)) < 1) refuse_input(layer, input);
  }
  return shape;
}

namespace {

/// How many entries the inputs have along their first dimension, which are the images unless the network has
/// folded another dimension into it.
std::size_t count_images(std::span<const at::Tensor> inputs) {
  std::int64_t images = 0;
  for (const at::Tensor& input : inputs) images += input.dim() == 0 ? 1 : input.size(0);
  return static_cast<std::size_t>(images);
}

/// The first image with a value that is NaN, infinite, or too large for its square to be summed.
std::string first_bad_image(std::span<const at::Tensor> inputs, std::span<const std::string> names) {
  constexpr float most = 1e19F;
  const bool named = names.size() == count_images(inputs);
  std::size_t image = 0;
  for (const at::Tensor& input : inputs) {
    const at::Tensor plain = input.to(at::kCPU, at::kFloat).contiguous();
    const std::int64_t images = plain.dim() == 0 ? 1 : plain.size(0);
    const std::int64_t each = images == 0 ? 0 : plain.numel() / images;
    const float* value = plain.const_data_ptr<float>();
    for (std::int64_t i = 0; i < images; ++i, ++image, value += each) {
      if (std::all_of(value, value + each, [](float x) { return std::abs(x) < most; })) continue;
      return named ? "image '" + names[image] + "'" : "image " + std::to_string(image) + " of this rank";
    }
  }
  return "some images";
}

}  // namespace

void throw_bad_input(const Layer& layer, std::span<const at::Tensor> inputs,
                     std::span<const std::string> names) {
  throw DataError("layer '" + layer.name + "': its input is NaN or infinite (or beyond 1e19) for " +
                  first_bad_image(inputs, names) +
                  "; look for bad values in the weights of the layers before it, or leave the image out");
}

LayerWindow::LayerWindow(const Layer& layer, const at::Tensor& input)
    : linear_(layer.kind == LayerKind::linear), groups_(layer.groups), columns_(layer.columns()) {
  if (linear_) {
    if (input.dim() == 0 || input.size(-1) != columns_) refuse_input(layer, input);
    images_ = input.dim() == 1 ? 1 : input.size(0);
    positions_ = images_ == 0 ? 0 : input.numel() / columns_ / images_;
    return;
  }
  shape_ = window_shape(layer, input);
  images_ = input.size(0);
  positions_ = shape_.positions();
}

void LayerWindow::gather_row(const float* data, std::int64_t image, std::int64_t group, std::int64_t position,
                             float* out) const {
  if (linear_) {
    std::copy_n(data + (image * positions_ + position) * columns_, columns_, out);
    return;
  }
  const float* plane = data + (image * groups_ + group) * shape_.channels * shape_.plane();
  const std::int64_t top = position / shape_.output(1) * shape_.stride[0] - shape_.padding[0];
  const std::int64_t left = position % shape_.output(1) * shape_.stride[1] - shape_.padding[1];
  const std::int64_t bottom = top + (shape_.kernel[0] - 1) * shape_.dilation[0];
  const std::int64_t right = left + (shape_.kernel[1] - 1) * shape_.dilation[1];
  if (top >= 0 && left >= 0 && bottom < shape_.input[0] && right < shape_.input[1]) {
    plane += top * shape_.input[1] + left;
    for (std::int64_t channel = 0; channel < shape_.channels; ++channel, plane += shape_.plane())
      for (std::int64_t i = 0; i < shape_.kernel[0]; ++i)
        for (std::int64_t j = 0; j < shape_.kernel[1]; ++j)
          *out++ = plane[i * shape_.dilation[0] * shape_.input[1] + j * shape_.dilation[1]];
    return;
  }
  for (std::int64_t channel = 0; channel < shape_.channels; ++channel, plane += shape_.plane()) {
    for (std::int64_t i = 0; i < shape_.kernel[0]; ++i) {
      const std::int64_t y = top + i * shape_.dilation[0];
      for (std::int64_t j = 0; j < shape_.kernel[1]; ++j) {
        const std::int64_t x = left + j * shape_.dilation[1];
        const bool inside = y >= 0 && y < shape_.input[0] && x >= 0 && x < shape_.input[1];
        *out++ = inside ? plane[y * shape_.input[1] + x] : 0.0f;
      }
    }
  }
}

}  // namespace bitfall
