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

void CodewordTable::set_columns(std::span<float> columns, std::span<const float> place_norms2,
                                std::span<const std::int32_t> order, std::span<const float> penalties) {
  BITFALL_ASSERT(std::ssize(order) == k && std::ssize(columns) == std::ssize(place_norms2) * (d + 1) &&
                     (penalties.empty() || std::ssize(penalties) == k),
                 "sizes of the codewords");
  float largest = 0;
  for (std::int64_t place = 0; place < std::ssize(place_norms2); ++place) {
    float* column = columns.data() + place / tile_points * tile_points * (d + 1) + place % tile_points;
    if (place >= k) {
      column[0] = FLT_MAX;
      continue;
    }
    const auto c = static_cast<std::size_t>(order[static_cast<std::size_t>(place)]);
    const float norm2 = place_norms2[static_cast<std::size_t>(place)];
    column[0] = norm2 * 0.5f;
    if (!penalties.empty()) column[0] += penalties[c];
    norms2[c] = norm2;
    largest = std::max(largest, norm2);
    float* row = rows.data() + static_cast<std::int64_t>(c) * (d + 1);
    for (std::int64_t j = 0; j <= d; ++j) row[j] = column[j * tile_points];
  }
  largest_norm2 = largest;
  is_distance = penalties.empty();
  for (std::int64_t c = k; c < padded_k; ++c) rows[static_cast<std::size_t>(c * (d + 1))] = FLT_MAX;
}

}  // namespace bitfall
