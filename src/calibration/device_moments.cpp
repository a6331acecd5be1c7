#include "calibration/device_moments.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/im2col.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "calibration/layer_window.hpp"

namespace bitfall {
namespace {

/// Unfolded columns, or values in double, that are in memory at once.
constexpr std::int64_t tile_bytes = std::int64_t{256} << 20;
/// Rows of a linear layer that one float32 sum goes over.
constexpr std::int64_t linear_rows = 4096;

/// sum over the first dimension of X_j X_j^T, X_j the [d, L] pieces of `columns` [count, D, L]: [m, d, d].
at::Tensor products(const at::Tensor& columns, std::int64_t d) {
  const std::int64_t count = columns.size(0), positions = columns.size(1) / d, length = columns.size(2);
  const at::Tensor pieces = columns.reshape({count * positions, d, length});
  return at::bmm(pieces, pieces.transpose(1, 2)).view({count, positions, d, d}).sum(0, false, at::kDouble);
}

/// The unfolded inputs [count, D, L] of some images, whose groups count as images.
at::Tensor unfold(const WindowShape& shape, const at::Tensor& images) {
  const bool pointwise =
      shape.kernel[0] == 1 && shape.kernel[1] == 1 && shape.padding[0] == 0 && shape.padding[1] == 0;
  if (!pointwise) return at::im2col(images, shape.kernel, shape.dilation, shape.padding, shape.stride);
  return images.slice(2, 0, std::nullopt, shape.stride[0])
      .slice(3, 0, std::nullopt, shape.stride[1])
      .reshape({images.size(0), images.size(1), shape.positions()});
}

}  // namespace

bool all_on_host(std::span<const at::Tensor> inputs) {
  return std::all_of(inputs.begin(), inputs.end(), [](const at::Tensor& input) { return input.is_cpu(); });
}

at::Tensor device_moments(const Layer& layer, const at::Tensor& input, std::int64_t d, bool per_position) {
  const at::Tensor plain = input.to(at::kFloat).contiguous();
  const std::int64_t columns = layer.columns();
  at::Tensor sums = at::zeros({columns / d, d, d}, plain.options().dtype(at::kDouble));
  if (layer.kind == LayerKind::linear) {
    const at::Tensor rows = plain.view({-1, columns});
    for (std::int64_t first = 0; first < rows.size(0); first += linear_rows)
      sums += products(rows.slice(0, first, std::min(rows.size(0), first + linear_rows)).t().unsqueeze(0), d);
  } else {
    const WindowShape shape = window_shape(layer, plain);
    const at::Tensor images = plain.view({-1, shape.channels, shape.input[0], shape.input[1]});
    const std::int64_t each = 4 * columns * shape.positions();
    const std::int64_t step = std::max<std::int64_t>(1, tile_bytes / each);
    for (std::int64_t first = 0; first < images.size(0); first += step)
      sums += products(unfold(shape, images.slice(0, first, std::min(images.size(0), first + step))), d);
  }
  return per_position ? sums : sums.sum(0, true);
}

at::Tensor device_channel_sums(const at::Tensor& input, const at::Tensor& centers, int power) {
  const at::Tensor rows = input.reshape({input.size(0), input.size(1), -1});
  at::Tensor sums = at::zeros({input.size(1)}, rows.options().dtype(at::kDouble));
  const std::int64_t each = 8 * rows.size(1) * rows.size(2);
  const std::int64_t step = std::max<std::int64_t>(1, tile_bytes / std::max<std::int64_t>(1, each));
  for (std::int64_t first = 0; first < rows.size(0); first += step) {
    const at::Tensor part = rows.slice(0, first, std::min(rows.size(0), first + step));
    const at::Tensor centered = part.to(at::kDouble) - centers.view({1, -1, 1});
    sums += (power == 1 ? centered : centered.square()).sum(at::IntArrayRef{0, 2});
  }
  return sums;
}

}  // namespace bitfall
