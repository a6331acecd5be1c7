#pragma once
/// How the error v - c of a block is weighed.
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace bitfall {

enum class Metric {
  euclidean,   ///< |v - c|^2
  activation,  ///< (v - c)^T G (v - c) with the pooled Gram matrix G = sum_j G_j (paper, section 3.2)
  blockwise,   ///< (v - c)^T G_j (v - c) with the Gram matrix of the block's own position
  full,  ///< e^T H e with the whole Gram matrix H, e the error of a row: blocks feel each other's errors
};
[[nodiscard]] std::string_view to_string(Metric metric);
/// Throws UsageError that lists the known names.
[[nodiscard]] Metric metric_from_string(std::string_view name);

/// The linear map v -> L^T v with G = L L^T, after which the metric is Euclidean: (v-c)^T G (v-c) = |L^T v -
/// L^T c|^2.
class Whitening {
 public:
  /// L = identity (metric euclidean).
  static Whitening identity(std::int64_t d);
  /// Cholesky factor of G + 1e-7 trace(G)/d I (a dead input makes G singular). `gram` is d x d, row major,
  /// symmetric. G is first scaled to trace d, which leaves the minimiser unchanged and keeps fp32 in range.
  /// A zero matrix gives the identity (`is_degenerate`). Throws DataError when G has a NaN or infinity.
  static Whitening from_gram(std::span<const double> gram, std::int64_t d);

  /// rows x d blocks -> rows x d whitened blocks: out_i = sum_{j>=i} L_ji v_j in this order, in fp32.
  void apply(std::span<const float> blocks, std::span<float> out) const;
  [[nodiscard]] std::int64_t d() const { return d_; }
  /// L, d x d row major, lower triangular; empty for the identity.
  [[nodiscard]] std::span<const float> factor() const { return factor_; }
  [[nodiscard]] bool is_identity() const { return identity_; }
  /// The Gram matrix was zero: the layer's input is constant zero and any code is as good as another.
  [[nodiscard]] bool is_degenerate() const { return degenerate_; }

 private:
  std::int64_t d_ = 0;
  bool identity_ = true;
  bool degenerate_ = false;
  std::vector<float> factor_;
};

}  // namespace bitfall
