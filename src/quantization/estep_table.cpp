#include <algorithm>
#include <cfloat>
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
  norms2.resize(static_cast<std::size_t>(k));
}

void CodewordTable::set(std::span<const float> whitened, std::span<const float> penalties) {
  BITFALL_ASSERT(static_cast<std::int64_t>(whitened.size()) == k * d, "size of the codebook");
  BITFALL_ASSERT(penalties.empty() || static_cast<std::int64_t>(penalties.size()) == k, "penalties");
  squared_norms(whitened, d, norms2);
  largest_norm2 = *std::max_element(norms2.begin(), norms2.end());
  is_distance = penalties.empty();
  for (std::int64_t c = 0; c < k; ++c) {
    float* row = rows.data() + c * (d + 1);
    row[0] = norms2[static_cast<std::size_t>(c)] * 0.5f;
    if (!penalties.empty()) row[0] += penalties[static_cast<std::size_t>(c)];
    std::copy_n(whitened.data() + c * d, d, row + 1);
  }
  for (std::int64_t c = k; c < padded_k; ++c) rows[static_cast<std::size_t>(c * (d + 1))] = FLT_MAX;
}

}  // namespace bitfall
