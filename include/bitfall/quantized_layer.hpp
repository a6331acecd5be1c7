#pragma once
/// A layer after quantization: codebook and codes, and the way back to a dense weight.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "bitfall/codebook.hpp"
#include "bitfall/kmeans.hpp"
#include "bitfall/layer.hpp"
#include "bitfall/metric.hpp"

namespace bitfall {

struct QuantizedLayer {
  std::string name;         ///< as Layer::name
  std::string weight_name;  ///< as Layer::weight_name
  LayerKind kind = LayerKind::convolution;
  std::vector<std::int64_t> weight_shape;
  std::int64_t groups = 1;
  std::int64_t d = 0, k = 0;
  Metric metric = Metric::activation;
  std::vector<std::uint16_t> codebook;  ///< k x d fp16 bits
  /// 0: the codebook is stored as it is. Positive: each of its values is codebook_value(i, codebook_scale, e)
  /// for some i, and that is stored.
  float codebook_scale = 0;
  std::vector<std::uint16_t> codes;  ///< n = rows * m; block j of row r is entry r * m + j
  std::vector<KmeansIteration> iterations;

  [[nodiscard]] std::int64_t elements() const;
  [[nodiscard]] int code_bits() const;  ///< ceil(log2 k), 0 for k = 1
  [[nodiscard]] CodebookType codebook_type() const {
    return codebook_scale > 0 ? CodebookType::int8 : CodebookType::fp16;
  }
  [[nodiscard]] std::int64_t codebook_bytes() const;  ///< 2 k d, or k d and the scale's 4
};

[[nodiscard]] int code_bits(std::int64_t k);  ///< ceil(log2 k), 0 for k = 1

/// The dense weight in C order: weight[r, j*d .. j*d+d) = codebook[codes[r*m+j]].
[[nodiscard]] std::vector<float> decode(const QuantizedLayer& layer);

/// Codes as a stream of `bits`-wide unsigned integers, least significant bit first, padded to a whole byte.
[[nodiscard]] std::vector<std::uint8_t> pack_codes(std::span<const std::uint16_t> codes, int bits);
/// The inverse; throws DataError when `bytes` has not exactly the size that `count` codes need or padding is
/// not zero.
[[nodiscard]] std::vector<std::uint16_t> unpack_codes(std::span<const std::uint8_t> bytes, std::int64_t count,
                                                      int bits);

/// IEEE binary16, round to nearest even. Overflow gives infinity.
[[nodiscard]] std::uint16_t float_to_half(float value);
[[nodiscard]] float half_to_float(std::uint16_t bits);

}  // namespace bitfall
