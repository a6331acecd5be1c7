#include "bitfall/layer.hpp"

#include <functional>
#include <numeric>
#include <span>

namespace bitfall {
namespace {

std::int64_t product(std::span<const std::int64_t> factors) {
  return std::accumulate(factors.begin(), factors.end(), std::int64_t{1}, std::multiplies<>());
}

}  // namespace

std::string_view to_string(LayerKind kind) {
  return kind == LayerKind::linear ? "linear" : "convolution";
}

std::string_view to_string(TensorRole role) {
  switch (role) {
    case TensorRole::weight:
      return "weight";
    case TensorRole::bias:
      return "bias";
    case TensorRole::batch_norm_scale:
      return "batch_norm_scale";
    case TensorRole::batch_norm_shift:
      return "batch_norm_shift";
    case TensorRole::batch_norm_mean:
      return "batch_norm_mean";
    case TensorRole::batch_norm_variance:
      return "batch_norm_variance";
    case TensorRole::buffer:
      return "buffer";
  }
  return "unknown";
}

std::int64_t Layer::columns() const {
  return product(std::span(weight_shape).subspan(weight_shape.empty() ? 0 : 1));
}

std::int64_t Layer::kernel_elements() const {
  return weight_shape.size() <= 2 ? 1 : product(std::span(weight_shape).subspan(2));
}

std::int64_t TensorInfo::elements() const {
  return product(shape);
}

}  // namespace bitfall
