#pragma once
/// Gram matrices the slow way: the whole unfolded input in double, multiplied by itself.
#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/im2col.h>
#include <ATen/ops/matmul.h>

#include <vector>

#include "bitfall/calibration.hpp"
#include "catch.hpp"

namespace bitfall::test {

/// The unfolded rows of a convolution of any rank, one value after the other: [samples, D] in double.
inline at::Tensor unfolded_by_hand(const Layer& layer, const at::Tensor& x) {
  const std::size_t rank = layer.weight_shape.size() - 2;
  const at::Tensor images = x.dim() == static_cast<std::int64_t>(rank) + 1 ? x.unsqueeze(0) : x;
  const auto count = [](const std::vector<std::int64_t>& sizes) {
    std::int64_t product = 1;
    for (const std::int64_t size : sizes) product *= size;
    return product;
  };
  const auto place = [](std::int64_t index, const std::vector<std::int64_t>& sizes) {
    std::vector<std::int64_t> coordinates(sizes.size());
    for (std::size_t axis = sizes.size(); axis-- > 0; index /= sizes[axis])
      coordinates[axis] = index % sizes[axis];
    return coordinates;
  };
  std::vector<std::int64_t> kernel(layer.weight_shape.begin() + 2, layer.weight_shape.end()), output(rank);
  for (std::size_t a = 0; a < rank; ++a)
    output[a] = (images.size(static_cast<std::int64_t>(a) + 2) + 2 * layer.padding[a] -
                 layer.dilation[a] * (kernel[a] - 1) - 1) /
                    layer.stride[a] +
                1;
  std::vector<double> values;
  for (std::int64_t n = 0; n < images.size(0); ++n)
    for (std::int64_t group = 0; group < layer.groups; ++group)
      for (std::int64_t p = 0; p < count(output); ++p)
        for (std::int64_t c = 0; c < layer.weight_shape[1]; ++c)
          for (std::int64_t t = 0; t < count(kernel); ++t) {
            const auto at = place(p, output), tap = place(t, kernel);
            at::Tensor value = images[n][group * layer.weight_shape[1] + c];
            for (std::size_t a = 0; a < rank && value.defined(); ++a) {
              const std::int64_t i = at[a] * layer.stride[a] - layer.padding[a] + tap[a] * layer.dilation[a];
              value = i < 0 || i >= value.size(0) ? at::Tensor() : value[i];
            }
            values.push_back(value.defined() ? value.item<double>() : 0.0);
          }
  const auto rows = static_cast<std::int64_t>(values.size()) / layer.columns();
  return at::from_blob(values.data(), {rows, layer.columns()}, at::kDouble).clone();
}

/// im2col rows of one input: [samples, D] in double.
inline at::Tensor unfolded(const Layer& layer, const at::Tensor& input) {
  const at::Tensor x = input.to(at::kDouble).contiguous();
  if (layer.kind == LayerKind::linear) return x.reshape({-1, layer.columns()});
  if (layer.weight_shape.size() != 4) return unfolded_by_hand(layer, x);
  const at::Tensor images = x.dim() == 3 ? x.unsqueeze(0) : x;
  const at::Tensor columns =  // [N, groups * D, L]
      at::im2col(images, {layer.weight_shape[2], layer.weight_shape[3]}, layer.dilation, layer.padding,
                 layer.stride);
  return columns.reshape({images.size(0) * layer.groups, layer.columns(), columns.size(2)})
      .transpose(1, 2)
      .reshape({-1, layer.columns()});
}

/// Of all inputs, one after the other.
inline at::Tensor all_rows(const Layer& layer, const std::vector<at::Tensor>& inputs) {
  std::vector<at::Tensor> parts;
  for (const at::Tensor& input : inputs) parts.push_back(unfolded(layer, input));
  return at::cat(parts).contiguous();
}

/// [m, d, d] in double.
inline at::Tensor gram_oracle(const Layer& layer, const std::vector<at::Tensor>& inputs, std::int64_t d) {
  const at::Tensor x = all_rows(layer, inputs)
                           .reshape({-1, layer.columns() / d, d})
                           .permute({1, 2, 0})
                           .contiguous();  // [m, d, samples]
  return at::matmul(x, x.transpose(1, 2));
}

inline Layer convolution(std::vector<std::int64_t> weight_shape, std::vector<std::int64_t> stride,
                         std::vector<std::int64_t> padding, std::vector<std::int64_t> dilation,
                         std::int64_t groups) {
  Layer layer;
  layer.name = "block.conv";
  layer.weight_name = "block.conv.weight";
  layer.weight_shape = std::move(weight_shape);
  layer.stride = std::move(stride);
  layer.padding = std::move(padding);
  layer.dilation = std::move(dilation);
  layer.groups = groups;
  return layer;
}

inline Layer linear(std::int64_t rows, std::int64_t columns) {
  Layer layer;
  layer.name = "fc";
  layer.weight_name = "fc.weight";
  layer.kind = LayerKind::linear;
  layer.weight_shape = {rows, columns};
  return layer;
}

inline void check_close(const std::vector<double>& found, const at::Tensor& expected, double tolerance) {
  const at::Tensor plain = expected.contiguous();
  REQUIRE(found.size() == static_cast<std::size_t>(plain.numel()));
  const double largest = plain.abs().max().item<double>();
  for (std::size_t i = 0; i < found.size(); ++i)
    REQUIRE(std::abs(found[i] - plain.const_data_ptr<double>()[i]) <= tolerance * largest);
}

/// Small layers over small_images.
inline std::vector<Layer> small_layers() {
  return {convolution({4, 3, 3, 3}, {1, 1}, {1, 1}, {1, 1}, 1),
          convolution({4, 3, 3, 3}, {2, 1}, {0, 2}, {1, 2}, 1),
          convolution({6, 1, 3, 3}, {1, 1}, {1, 1}, {1, 1}, 3),
          convolution({4, 3, 1, 1}, {2, 2}, {0, 0}, {1, 1}, 1),
          convolution({2, 3, 5, 5}, {1, 1}, {2, 2}, {1, 1}, 1)};
}

}  // namespace bitfall::test
