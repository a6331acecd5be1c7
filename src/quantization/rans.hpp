#pragma once
/// Range asymmetric numeral systems: codes <-> bytes under fixed frequencies.
#include <cstdint>
#include <span>
#include <vector>

#include "quantization/frequency_table.hpp"

namespace bitfall {

/// Every code must have a positive frequency.
[[nodiscard]] std::vector<std::uint8_t> rans_encode(std::span<const std::uint16_t> codes,
                                                    const FrequencyTable& table);

/// Throws DataError unless `bytes` are what rans_encode makes of `count` codes.
[[nodiscard]] std::vector<std::uint16_t> rans_decode(std::span<const std::uint8_t> bytes, std::int64_t count,
                                                     const FrequencyTable& table);

}  // namespace bitfall
