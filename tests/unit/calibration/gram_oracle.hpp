#pragma once
/// Gram matrices the slow way: the whole unfolded input in double, multiplied by itself.
#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/im2col.h>
#include <ATen/ops/matmul.h>

#include <vector>

#include "bitfall/calibration.hpp"

namespace bitfall::test {

/// im2col rows of one input: [samples, D] in double.
inline at::Tensor unfolded(const Layer& layer, const at::Tensor& input) {
  const at::Tensor x = input.to(at::kDouble).contiguous();
  if (layer.kind == LayerKind::linear) return x.reshape({-1, layer.columns()});
  const at::Tensor images = x.dim() == 3 ? x.unsqueeze(0) : x;
  const at::Tensor columns =  // [N, groups * D, L]
      at::im2col(images, {layer.weight_shape[2], layer.weight_shape[3]}, layer.dilation, layer.padding,
                 layer.stride);
  return columns.reshape({images.size(0) * layer.groups, layer.columns(), columns.size(2)})
      .transpose(1, 2)
      .reshape({-1, layer.columns()});
}

/// [m, d, d] in double.
inline at::Tensor gram_oracle(const Layer& layer, const std::vector<at::Tensor>& inputs, std::int64_t d) {
  std::vector<at::Tensor> parts;
  for (const at::Tensor& input : inputs) parts.push_back(unfolded(layer, input));
  const at::Tensor x = at::cat(parts)
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

}  // namespace bitfall::test
