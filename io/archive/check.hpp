#pragma once
/// What must hold for every archive, before it is written and after it is read.
#include <cstdint>
#include <span>
#include <string>

#include "bitfall/archive.hpp"

namespace bitfall {

/// Throws DataError(what) unless the condition holds.
void require(bool condition, const std::string& what);

constexpr std::int64_t most_name_bytes = 1024;
constexpr std::int64_t most_dimensions = 64;

/// The product of `shape`; DataError naming `what` when a size is below `least` or the product exceeds 2^62.
[[nodiscard]] std::int64_t checked_elements(std::span<const std::int64_t> shape, std::int64_t least,
                                            const std::string& what);

/// Number of blocks n of a layer. Throws DataError unless shape, groups, d and k are possible together.
[[nodiscard]] std::int64_t checked_blocks(const QuantizedLayer& layer);

/// Throws DataError naming the layer or tensor: shapes, d and k that don't fit, a code without a codeword, a
/// codeword that is not finite, wrong sizes, names that are empty, too long or not unique.
void check_archive(const Archive& archive);

}  // namespace bitfall
