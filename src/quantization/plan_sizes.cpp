// The bytes of a plan by the paper's rule (section 5.1).
#include <algorithm>
#include <array>
#include <cstddef>
#include <map>
#include <set>
#include <string>

#include "bitfall/errors.hpp"
#include "bitfall/plan.hpp"

namespace bitfall {
namespace {

bool is_floating_point(const TensorInfo& tensor) {
  return tensor.dtype.starts_with("float") || tensor.dtype.starts_with("bfloat");
}

std::string module_of(const TensorInfo& tensor) {
  const std::size_t dot = tensor.name.rfind('.');
  return dot == std::string::npos ? std::string() : tensor.name.substr(0, dot);
}

/// Tensors that modules share exist once: the name that stands for all of them.
std::map<std::string, std::string> first_names(std::span<const TensorInfo> tensors) {
  std::map<std::string, std::string> first;
  for (const TensorInfo& tensor : tensors)
    first[tensor.name] = tensor.tied_to.empty() ? tensor.name : tensor.tied_to;
  return first;
}

/// The elements of one batch norm's tensors.
struct BatchNormElements {
  std::int64_t scale = 0, shift = 0, mean = 0, variance = 0;
  /// Folding leaves one scale and one shift a channel, also when the module has no affine parameters.
  [[nodiscard]] std::int64_t folded() const { return std::max(scale, variance) + std::max(shift, mean); }
};

}  // namespace

Sizes count_sizes(std::span<const LayerPlan> layers, std::span<const TensorInfo> tensors) {
  Sizes sizes;
  const std::map<std::string, std::string> first = first_names(tensors);
  std::set<std::string> replaced;
  for (const LayerPlan& layer : layers) {
    if (!layer.quantized) continue;
    sizes.codes_bytes += layer.codes_bytes();
    sizes.codebooks_bytes += layer.codebook_bytes();
    const auto weight = first.find(layer.layer.weight_name);
    BITFALL_ASSERT(weight != first.end(), "no tensor " + layer.layer.weight_name);
    replaced.insert(weight->second);
  }
  std::map<std::string, BatchNormElements> batch_norms;
  for (const TensorInfo& tensor : tensors) {
    if (!is_floating_point(tensor) || !tensor.tied_to.empty()) continue;
    const std::int64_t elements = tensor.elements();
    switch (tensor.role) {
      case TensorRole::weight:
      case TensorRole::bias:
        sizes.original_bytes += 4 * elements;
        if (!replaced.contains(tensor.name)) sizes.kept_elements += elements;
        break;
      case TensorRole::batch_norm_scale:
        sizes.original_bytes += 4 * elements;
        batch_norms[module_of(tensor)].scale += elements;
        break;
      case TensorRole::batch_norm_shift:
        sizes.original_bytes += 4 * elements;
        batch_norms[module_of(tensor)].shift += elements;
        break;
      case TensorRole::batch_norm_mean:
        batch_norms[module_of(tensor)].mean += elements;
        break;
      case TensorRole::batch_norm_variance:
        batch_norms[module_of(tensor)].variance += elements;
        break;
      case TensorRole::buffer:
        break;
    }
  }
  for (const auto& [module, elements] : batch_norms) sizes.kept_elements += elements.folded();
  return sizes;
}

}  // namespace bitfall
