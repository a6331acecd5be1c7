#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "bitfall/errors.hpp"
#include "quantization/estep.hpp"

namespace bitfall {

CodewordTable::CodewordTable(std::int64_t codewords, std::int64_t dimension)
    : k(codewords), padded_k((codewords + 7) / 8 * 8), d(dimension) {
  BITFALL_ASSERT(padded_k * (d + 1) <= std::numeric_limits<std::int32_t>::max(),
                 "codebook too large for 32-bit gather indices");
  rows.assign(static_cast<std::size_t>(padded_k * (d + 1) + row_margin), 0.0f);
}

void CodewordTable::set(std::span<const float> whitened, std::span<const float> penalties) {
  BITFALL_ASSERT(static_cast<std::int64_t>(whitened.size()) == k * d, "size of the codebook");
  BITFALL_ASSERT(penalties.empty() || static_cast<std::int64_t>(penalties.size()) == k, "penalties");
  largest_norm2 = 0;
  is_distance = penalties.empty();
  for (std::int64_t c = 0; c < padded_k; ++c) {
    float* row = rows.data() + c * (d + 1);
    float norm2 = 0;
    if (c < k) {
      for (std::int64_t j = 0; j < d; ++j) {
        row[1 + j] = whitened[static_cast<std::size_t>(c * d + j)];
        norm2 = std::fma(row[1 + j], row[1 + j], norm2);
      }
      largest_norm2 = std::max(largest_norm2, static_cast<double>(norm2));
    }
    row[0] = c < k ? norm2 * 0.5f : FLT_MAX;
    if (c < k && !penalties.empty()) row[0] += penalties[static_cast<std::size_t>(c)];
  }
}

}  // namespace bitfall
