#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>

#include "bitfall/errors.hpp"
#include "parallel/threads.hpp"
#include "quantization/estep_filter.hpp"

namespace bitfall {
namespace {

/// Scales and their products stay normal floats.
constexpr float largest_scale = 0x1p40f;
/// Bounds that are computed in floats are widened by this.
constexpr float wider = 1 + 0x1p-16f;

float scale_for(float limit, float largest) {
  return largest * largest_scale > limit ? limit / largest : largest_scale;
}

static_assert(tile_points == codeword_group, "one layout for points and codewords");

float largest_of(const float (&values)[tile_points]) {
  return *std::max_element(values, values + tile_points);
}

}  // namespace

FilterPoints::FilterPoints(const TiledBlocks& points, int threads)
    : pairs((points.d + 1) / 2),
      words(static_cast<std::size_t>(points.groups() * group_points * pairs)),
      groups(static_cast<std::size_t>(points.groups())),
      norms2(static_cast<std::size_t>(points.groups() * group_points), 0.0f) {
  parallel_for(points.groups(), threads, [&](std::int64_t g) {
    const float* values = points.group(g);
    float* norm2 = norms2.data() + g * group_points;
    float largest = 0;
    for (std::int64_t tile = 0; tile < group_points / tile_points; ++tile)
      for (std::int64_t j = 0; j < points.d; ++j)
        for (std::int64_t i = 0; i < tile_points; ++i) {
          const float value = values[(tile * points.d + j) * tile_points + i];
          norm2[tile * tile_points + i] += value * value;
          largest = std::max(largest, std::fabs(value));
        }
    const float norm = std::sqrt(*std::max_element(norm2, norm2 + group_points));
    Group& group = groups[static_cast<std::size_t>(g)];
    group.scale = std::min(scale_for(127, largest), scale_for(largest_norm, norm));
    group.norm = norm * group.scale * wider;
    float distance2 = 0;
    for (std::int64_t tile = 0; tile < group_points / tile_points; ++tile) {
      const RoundedTile rounded = round_tile(values + tile * points.d * tile_points, points.d, group.scale,
                                             words.data() + (g * group_points + tile * tile_points) * pairs);
      distance2 = std::max(distance2, largest_of(rounded.distances2));
    }
    group.distance = std::sqrt(distance2) * wider;
  });
}

FilterTable::FilterTable(std::int64_t k, std::int64_t dimension) : d(dimension), pairs((dimension + 1) / 2) {
  const std::int64_t count = (k + codeword_group - 1) / codeword_group;
  const auto places_padded = static_cast<std::size_t>(count * codeword_group);
  order.resize(static_cast<std::size_t>(k));
  places.resize(order.size());
  bytes_.resize(static_cast<std::size_t>(codeword_group * pairs));
  columns.resize(places_padded * static_cast<std::size_t>(d + 1));
  words.resize(places_padded * static_cast<std::size_t>(pairs));
  half_norms.resize(places_padded);
  shifts.resize(places_padded);
  place_norms2_.resize(places_padded);
  for (std::vector<float>* each : {&scales, &norms, &distances, &shortest, &longest})
    each->resize(static_cast<std::size_t>(count));
}

void FilterTable::set(const CodewordTable& table) {
  BITFALL_ASSERT(table.d == d && table.k == static_cast<std::int64_t>(order.size()), "another codebook");
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    const float x = table.norms2[static_cast<std::size_t>(a)], y = table.norms2[static_cast<std::size_t>(b)];
    return x < y || (x == y && a < b);
  });
  for (std::size_t place = 0; place < order.size(); ++place)
    places[static_cast<std::size_t>(order[place])] = static_cast<std::int32_t>(place);
  for (std::int64_t place = 0; place < groups() * codeword_group; ++place) {
    float* column =
        columns.data() + place / codeword_group * codeword_group * (d + 1) + place % codeword_group;
    const bool is_padding = place >= table.k;
    const float* row =
        is_padding ? nullptr : table.rows.data() + order[static_cast<std::size_t>(place)] * (d + 1);
    for (std::int64_t j = 0; j <= d; ++j)
      column[j * codeword_group] = !is_padding ? row[j] : j == 0 ? FLT_MAX : 0.0f;
  }
  bound_groups(table);
}

AlignedVector<float> FilterTable::columns_of(std::span<const float> codebook) const {
  BITFALL_ASSERT(std::ssize(codebook) == std::ssize(order) * d, "another codebook");
  AlignedVector<float> result(static_cast<std::size_t>(groups() * codeword_group * d), 0.0f);
  for (std::int64_t place = 0; place < std::ssize(order); ++place) {
    const float* codeword = codebook.data() + order[static_cast<std::size_t>(place)] * d;
    float* column = result.data() + place / codeword_group * codeword_group * d + place % codeword_group;
    for (std::int64_t j = 0; j < d; ++j) column[j * codeword_group] = codeword[j];
  }
  return result;
}

void FilterTable::set_whitened(std::span<const float> codebook_columns, const Whitening& whitening,
                               std::span<const float> penalties, CodewordTable& table) {
  BITFALL_ASSERT(table.d == d && table.k == std::ssize(order), "another codebook");
  whiten_columns(whitening.factor(), d, codebook_columns, columns, place_norms2_);
  table.set_columns(columns, place_norms2_, order, penalties);
  bound_groups(table);
}

/// Everything else from the columns.
void FilterTable::bound_groups(const CodewordTable& table) {
  for (std::int64_t group = 0; group < groups(); ++group) {
    const auto g = static_cast<std::size_t>(group);
    const std::int64_t first = group * codeword_group, members = std::min(codeword_group, table.k - first);
    const float* half_norm = columns.data() + first * (d + 1);
    BITFALL_ASSERT(*std::min_element(half_norm, half_norm + codeword_group) >= 0, "a negative half norm");
    std::copy_n(half_norm, codeword_group, half_norms.begin() + first);
    float smallest = FLT_MAX, largest = 0;
    for (std::int64_t i = 0; i < members; ++i) {
      const float norm2 = table.norms2[static_cast<std::size_t>(order[static_cast<std::size_t>(first + i)])];
      smallest = std::min(smallest, norm2);
      largest = std::max(largest, norm2);
    }
    shortest[g] = std::sqrt(smallest) / wider;
    longest[g] = std::sqrt(largest) * wider;
    round_group(group);
  }
  // Ascending also where codewords are not in the order of their norms.
  for (std::size_t g = 1; g < longest.size(); ++g) longest[g] = std::max(longest[g], longest[g - 1]);
  for (std::size_t g = shortest.size(); g-- > 1;) shortest[g - 1] = std::min(shortest[g - 1], shortest[g]);
}

void FilterTable::round_group(std::int64_t group) {
  const auto g = static_cast<std::size_t>(group);
  const std::int64_t first = group * codeword_group;
  const float* coordinates = columns.data() + first * (d + 1) + codeword_group;
  float pairs_of[codeword_group] = {};
  for (std::int64_t j = 0; j < d; j += 2)
    for (std::int64_t i = 0; i < codeword_group; ++i) {
      const float second = j + 1 < d ? std::fabs(coordinates[(j + 1) * codeword_group + i]) : 0.0f;
      pairs_of[i] = std::max(pairs_of[i], std::fabs(coordinates[j * codeword_group + i]) + second);
    }
  // 127 and not 128: each of the two may be rounded up by a half.
  scales[g] = std::min(scale_for(127, largest_of(pairs_of)), scale_for(largest_norm, longest[g]));
  const RoundedTile rounded = round_tile(coordinates, d, scales[g], bytes_.data());
  norms[g] = std::sqrt(largest_of(rounded.norms2)) * wider;
  distances[g] = std::sqrt(largest_of(rounded.distances2)) * wider;
  for (std::int64_t i = 0; i < codeword_group; ++i)
    shifts[static_cast<std::size_t>(first + i)] = 128 * rounded.sums[i];
  std::int32_t* out = words.data() + first * pairs;
  for (std::int64_t i = 0; i < codeword_group * pairs; ++i) {
    const std::uint32_t word = bytes_[static_cast<std::size_t>(i)] ^ 0x8080U;
    out[i] = static_cast<std::int32_t>(word | word << 16);
  }
}

}  // namespace bitfall
