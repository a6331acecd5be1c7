#pragma once
/// How codebooks are stored: fp16, or int8 with a scale.
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace bitfall {

enum class CodebookType {
  fp16,
  int8,  ///< whole multiples, -127 to 127, of one scale for each layer; each rounded to fp16
};
[[nodiscard]] std::string_view to_string(CodebookType type);
/// Throws UsageError that lists the known names.
[[nodiscard]] CodebookType codebook_type_from_string(std::string_view name);

/// What the integer i of an int8 codebook stands for: i * scale in float32, rounded to fp16.
[[nodiscard]] std::uint16_t codebook_value(std::int8_t i, float scale);
/// The i of each value of an int8 codebook. Throws DataError when one is no codebook_value, or the scale is
/// not positive and finite.
[[nodiscard]] std::vector<std::int8_t> codebook_integers(std::span<const std::uint16_t> codebook,
                                                         float scale);

/// A codebook as it is stored.
struct StoredCodebook {
  std::vector<std::uint16_t> halves;  ///< QuantizedLayer::codebook
  float scale = 0;                    ///< QuantizedLayer::codebook_scale
};

/// Rounds a codebook (k x d) to what is stored; `codebook` becomes what that decodes to. int8: the scale is a
/// 127th of the largest magnitude. Throws DataError, naming the codeword, when a value does not fit fp16.
[[nodiscard]] StoredCodebook round_codebook(std::span<float> codebook, std::int64_t d, CodebookType type);

}  // namespace bitfall
