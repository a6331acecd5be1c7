#pragma once
/// Codebooks as they are stored.
#include <cstdint>
#include <span>
#include <vector>

namespace bitfall {

/// The fp16 bits of the codebook (k x d); `codebook` becomes what they decode to. Throws DataError, naming
/// the codeword, when a value does not fit.
[[nodiscard]] std::vector<std::uint16_t> round_to_half(std::span<float> codebook, std::int64_t d);

}  // namespace bitfall
