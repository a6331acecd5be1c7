#include "calibration/device_moments.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "calibration/device_rows.hpp"
#include "calibration/gram_kernels.hpp"
#include "calibration/layer_window.hpp"

namespace bitfall {
namespace {

/// Values in double that are in memory at once.
constexpr std::int64_t tile_bytes = std::int64_t{256} << 20;
}  // namespace

bool all_on_host(std::span<const at::Tensor> inputs) {
  return std::all_of(inputs.begin(), inputs.end(), [](const at::Tensor& input) { return input.is_cpu(); });
}

at::Tensor device_moments(const Layer& layer, const at::Tensor& input, std::int64_t d,
                          const ArrayWork& arrays) {
  at::Tensor plain = input.to(at::kFloat).contiguous();
  // The rows of a linear layer are the positions of one image.
  if (layer.kind == LayerKind::linear) plain = plain.view({1, -1, layer.columns()});
  const LayerWindow window(layer, plain);
  at::Tensor triangles = at::empty({layer.columns() / d, pair_count(d)}, plain.options().dtype(at::kDouble));
  arrays.block_moments(row_window(layer, plain), window.images(), window.groups(), d,
                       triangles.mutable_data_ptr<double>());
  return triangles;
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
