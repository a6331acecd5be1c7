#pragma once
/// The frequencies that rANS codes with, and their bytes.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace bitfall {

/// Frequencies of the codes 0 ... k - 1 as multiples of 2^-bits.
struct FrequencyTable {
  static constexpr int most_bits = 16;
  int bits = 0;                            ///< 0 ... most_bits
  std::vector<std::uint32_t> frequencies;  ///< k of them, their sum is 2^bits
};

/// How the table of one layer is written: see frequency_table.cpp.
struct TableCoding {
  bool from_previous = false;  ///< a frequency is told by its difference to the one before, else to the mean
  int order = 0;               ///< of the exponential Golomb code, 0 ... 15
  std::int64_t bits = 0;       ///< what the frequencies then take
};

/// Frequencies close to counts / sum(counts): each positive count gets at least 1, the others 0. From the
/// shares rounded down, single steps go where they shorten sum_c counts_c (bits - log2 frequency_c) most.
/// Needs 1 <= number of positive counts <= 2^bits, and a sum of at most 2^45.
[[nodiscard]] FrequencyTable quantize_counts(std::span<const std::int64_t> counts, int bits);

/// The cheapest coding.
[[nodiscard]] TableCoding choose_coding(const FrequencyTable& table);

[[nodiscard]] std::vector<std::uint8_t> write_table(const FrequencyTable& table, const TableCoding& coding);

/// The table of k frequencies that `bytes` start with; `length` becomes the bytes it takes. Throws DataError
/// when there is none.
[[nodiscard]] FrequencyTable read_table(std::span<const std::uint8_t> bytes, std::int64_t k,
                                        std::size_t& length);

}  // namespace bitfall
