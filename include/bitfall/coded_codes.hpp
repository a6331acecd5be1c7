#pragma once
/// Codes as an archive stores them: packed bits, or entropy coded where that is smaller. docs/format.md has
/// both byte by byte.
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace bitfall {

enum class Coding {
  packed,  ///< ceil(log2 k) bits a code (pack_codes)
  rans,    ///< a frequency table, then range asymmetric numeral systems (Duda, arXiv 1311.2540)
};
[[nodiscard]] std::string_view to_string(Coding coding);
/// Throws DataError that lists the known names.
[[nodiscard]] Coding coding_from_string(std::string_view name);

struct CodedCodes {
  Coding coding = Coding::packed;
  std::vector<std::uint8_t> bytes;
};

/// The smaller of the two codings, table included; packed when they are equal. Every code is below k, 1 <= k
/// <= 65536. A pure function of its arguments. About 10 ns a code.
[[nodiscard]] CodedCodes encode_codes(std::span<const std::uint16_t> codes, std::int64_t k);

/// The inverse for `count` codes. `bytes` may come from anywhere: throws DataError unless they are, to the
/// last bit, a stream of `count` codes below k. Needs 2 * count bytes and at most 1 MiB beside them.
[[nodiscard]] std::vector<std::uint16_t> decode_codes(Coding coding, std::span<const std::uint8_t> bytes,
                                                      std::int64_t count, std::int64_t k);

/// Order-0 entropy, -sum_c p_c log2 p_c with p_c the share of code c: bits a code. 0 without codes.
[[nodiscard]] double code_entropy(std::span<const std::uint16_t> codes, std::int64_t k);

}  // namespace bitfall
