#pragma once
/// One quantizable weight of a network, as every room sees it (no LibTorch here).
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace bitfall {

enum class LayerKind { convolution, linear };
[[nodiscard]] std::string_view to_string(LayerKind kind);

/// A convolution or linear weight [C_out, C_in/groups, kernel...], seen as a matrix of `rows` rows and
/// `columns` columns (C order). Each row is cut into m = columns/d blocks of d; n = rows * m.
struct Layer {
  std::string name;         ///< qualified path of the module, e.g. "layer1.0.conv2"
  std::string weight_name;  ///< qualified name of the tensor, e.g. "layer1.0.conv2.weight"
  LayerKind kind = LayerKind::convolution;
  std::vector<std::int64_t> weight_shape;  ///< as stored
  std::vector<std::int64_t> stride, padding, dilation;
  std::int64_t groups = 1;
  bool transposed = false;
  std::vector<std::int64_t> steps;  ///< indices of the network's steps that use the weight, ascending
  std::string obstacle;             ///< why this layer can't be quantized; empty when it can

  /// 0 when the shape is unknown (a computed weight, see obstacle).
  [[nodiscard]] std::int64_t rows() const { return weight_shape.empty() ? 0 : weight_shape.front(); }
  [[nodiscard]] std::int64_t columns() const;
  [[nodiscard]] std::int64_t elements() const { return rows() * columns(); }
  /// kh*kw (1 for linear layers).
  [[nodiscard]] std::int64_t kernel_elements() const;
};

/// What a tensor of the network is to the size accounting.
enum class TensorRole {
  weight,            ///< a layer's weight
  bias,              ///< any other floating-point parameter
  batch_norm_scale,  ///< gamma and beta: counted once folded (2 values a channel), as the paper does
  batch_norm_shift,
  batch_norm_mean,  ///< running statistics: folded away in the paper's rule
  batch_norm_variance,
  buffer,  ///< any other buffer, e.g. num_batches_tracked
};
[[nodiscard]] std::string_view to_string(TensorRole role);

/// A named parameter or buffer of the network.
struct TensorInfo {
  std::string name;   ///< qualified name, e.g. "bn1.running_mean"
  std::string dtype;  ///< "float32", "int64", ... (safetensors names are derived from it)
  std::vector<std::int64_t> shape;
  TensorRole role = TensorRole::bias;
  /// The first name of the same tensor when the network shares it between modules, else empty. Sizes count
  /// and archives store only tensors whose tied_to is empty; writing one name writes all.
  std::string tied_to = {};
  [[nodiscard]] std::int64_t elements() const;
};

}  // namespace bitfall
