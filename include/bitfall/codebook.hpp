#pragma once
/// How codebooks are stored: fp16, or int8 with a scale and an exponent for each codeword.
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace bitfall {

enum class CodebookType {
  fp16,
  int8,  ///< whole multiples, -127 to 127, of a step for each codeword: scale / 2^exponent; each rounded to
         ///< fp16
};
[[nodiscard]] std::string_view to_string(CodebookType type);
/// Throws UsageError that lists the known names.
[[nodiscard]] CodebookType codebook_type_from_string(std::string_view name);

/// An int8 codebook as it lies in an archive.
struct CodebookIntegers {
  std::vector<std::int8_t> exponents;  ///< of each codeword, 0 to most_codebook_exponent
  std::vector<std::int8_t> multiples;  ///< k x d
};
constexpr int most_codebook_exponent = 15;

/// What the integer i of an int8 codebook stands for: i * scale / 2^exponent in float32, rounded to fp16.
[[nodiscard]] std::uint16_t codebook_value(std::int8_t i, float scale, int exponent);
/// The inverse for a codebook (k x d): of each codeword the least exponent that gives all its values. Throws
/// DataError when there is none, or the scale is not positive and finite.
[[nodiscard]] CodebookIntegers codebook_integers(std::span<const std::uint16_t> codebook, std::int64_t d,
                                                 float scale);

/// A codebook as it is stored.
struct StoredCodebook {
  std::vector<std::uint16_t> halves;  ///< QuantizedLayer::codebook
  float scale = 0;                    ///< QuantizedLayer::codebook_scale
};

/// Rounds a codebook (k x d) to what is stored; `codebook` becomes what that decodes to. int8: the scale is a
/// 63rd of the largest magnitude, and a codeword's integers reach 32 to 63. Throws DataError, naming the
/// codeword, when a value does not fit fp16.
[[nodiscard]] StoredCodebook round_codebook(std::span<float> codebook, std::int64_t d, CodebookType type);

}  // namespace bitfall
