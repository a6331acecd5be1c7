#include "calibration/flat_layer.hpp"

#include <ATen/ops/constant_pad_nd.h>

#include <cstddef>

#include "calibration/layer_window.hpp"

namespace bitfall {
namespace {

/// Kernel dimensions.
std::size_t rank_of(const Layer& layer) {
  return layer.weight_shape.size() < 3 ? 0 : layer.weight_shape.size() - 2;
}

/// [N, C, D, H, W] -> [N * output depths, C * kd, H, W]
at::Tensor gather_depths(const Layer& layer, const at::Tensor& input) {
  const std::int64_t depth = layer.weight_shape[2], stride = layer.stride.at(0),
                     padding = layer.padding.at(0), dilation = layer.dilation.at(0);
  const std::int64_t span = dilation * (depth - 1) + 1;
  if (input.dim() != 5 || input.size(2) + 2 * padding < span) refuse_input(layer, input);
  const at::Tensor padded = padding == 0 ? input : at::constant_pad_nd(input, {0, 0, 0, 0, padding, padding});
  // [N, C, outputs, H, W, span] -> [N, outputs, C, kd, H, W]
  const at::Tensor taps =
      padded.unfold(2, span, stride).slice(5, 0, span, dilation).permute({0, 2, 1, 5, 3, 4});
  return taps.reshape({taps.size(0) * taps.size(1), taps.size(2) * depth, taps.size(4), taps.size(5)})
      .contiguous();
}

}  // namespace

Layer flat_layer(const Layer& layer) {
  Layer flat = layer;
  if (layer.kind != LayerKind::convolution || layer.transposed) return flat;
  if (rank_of(layer) == 1) {
    flat.weight_shape.insert(flat.weight_shape.begin() + 2, 1);
    flat.stride.insert(flat.stride.begin(), 1);
    flat.padding.insert(flat.padding.begin(), 0);
    flat.dilation.insert(flat.dilation.begin(), 1);
  } else if (rank_of(layer) == 3) {
    flat.weight_shape[1] *= flat.weight_shape[2];
    flat.weight_shape.erase(flat.weight_shape.begin() + 2);
    for (auto* values : {&flat.stride, &flat.padding, &flat.dilation}) values->erase(values->begin());
  }
  return flat;
}

at::Tensor flat_input(const Layer& layer, const at::Tensor& input) {
  at::Tensor plain = input.to(at::kFloat).contiguous();
  if (layer.kind != LayerKind::convolution) return plain;
  const std::size_t rank = rank_of(layer);
  if (plain.dim() == static_cast<std::int64_t>(rank) + 1) plain = plain.unsqueeze(0);
  if (layer.transposed || rank == 2) return plain;
  if (rank == 3) return gather_depths(layer, plain);
  if (plain.dim() != 3) refuse_input(layer, input);
  return plain.unsqueeze(2);
}

}  // namespace bitfall
