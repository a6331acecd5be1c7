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

/// Integers of a vector and how far they are from it.
struct Rounded {
  float norm2 = 0, distance2 = 0;
  std::int32_t add(float value, float scale) {
    // Added and subtracted again, it leaves the nearest integer: a loop that compilers turn into vectors.
    constexpr float offset = 0x1.8p23f;
    const float scaled = value * scale, integer = (scaled + offset) - offset;
    norm2 += integer * integer;
    distance2 += (integer - scaled) * (integer - scaled);
    return static_cast<std::int32_t>(integer);
  }
};

/// The bytes of a tile. Returns the largest |v^ - s v|^2.
float round_tile(const float* tile, std::int64_t d, float scale, std::uint16_t* words) {
  Rounded rounded[tile_points];
  for (std::int64_t j = 0; j < d; j += 2, words += tile_points) {
    for (std::int64_t i = 0; i < tile_points; ++i)
      words[i] = static_cast<std::uint16_t>(0x8080 + rounded[i].add(tile[j * tile_points + i], scale));
    if (j + 1 == d) break;
    for (std::int64_t i = 0; i < tile_points; ++i)
      words[i] =
          static_cast<std::uint16_t>(words[i] + 256 * rounded[i].add(tile[(j + 1) * tile_points + i], scale));
  }
  float largest = 0;
  for (const Rounded& each : rounded) largest = std::max(largest, each.distance2);
  return largest;
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
    for (std::int64_t tile = 0; tile < group_points / tile_points; ++tile)
      distance2 =
          std::max(distance2, round_tile(values + tile * points.d * tile_points, points.d, group.scale,
                                         words.data() + (g * group_points + tile * tile_points) * pairs));
    group.distance = std::sqrt(distance2) * wider;
  });
}

FilterTable::FilterTable(std::int64_t k, std::int64_t dimension) : d(dimension), pairs((dimension + 1) / 2) {
  const std::int64_t count = (k + codeword_group - 1) / codeword_group;
  const auto places_padded = static_cast<std::size_t>(count * codeword_group);
  order.resize(static_cast<std::size_t>(k));
  places.resize(order.size());
  lengths_.resize(order.size());
  columns.resize(places_padded * static_cast<std::size_t>(d + 1));
  words.resize(places_padded * static_cast<std::size_t>(pairs));
  half_norms.resize(places_padded);
  shifts.resize(places_padded);
  for (std::vector<float>* each : {&scales, &norms, &distances, &shortest, &longest})
    each->resize(static_cast<std::size_t>(count));
}

void FilterTable::set(const CodewordTable& table) {
  BITFALL_ASSERT(table.d == d && table.k == static_cast<std::int64_t>(order.size()), "another codebook");
  for (std::int64_t c = 0; c < table.k; ++c) {
    BITFALL_ASSERT(table.half_norm(c) >= 0, "a negative half norm");
    float norm2 = 0;
    for (const float value : table.codeword(c)) norm2 += value * value;
    lengths_[static_cast<std::size_t>(c)] = std::sqrt(norm2);
  }
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    const float x = lengths_[static_cast<std::size_t>(a)], y = lengths_[static_cast<std::size_t>(b)];
    return x < y || (x == y && a < b);
  });
  for (std::size_t place = 0; place < order.size(); ++place)
    places[static_cast<std::size_t>(order[place])] = static_cast<std::int32_t>(place);
  for (std::int64_t group = 0; group < groups(); ++group) set_group(table, group);
}

void FilterTable::set_group(const CodewordTable& table, std::int64_t group) {
  const auto g = static_cast<std::size_t>(group);
  const std::int64_t first = group * codeword_group, members = std::min(codeword_group, table.k - first);
  float* column = columns.data() + first * (d + 1);
  std::fill_n(column, codeword_group, FLT_MAX);
  std::fill_n(column + codeword_group, codeword_group * d, 0.0f);
  std::fill_n(words.begin() + first * pairs, codeword_group * pairs, 0);
  std::fill_n(half_norms.begin() + first, codeword_group, FLT_MAX);
  std::fill_n(shifts.begin() + first, codeword_group, 0);
  float largest_pair = 0;
  for (std::int64_t i = 0; i < members; ++i) {
    const float* row = table.rows.data() + order[static_cast<std::size_t>(first + i)] * (d + 1);
    half_norms[static_cast<std::size_t>(first + i)] = row[0];
    for (std::int64_t j = 0; j <= d; ++j) column[j * codeword_group + i] = row[j];
    for (std::int64_t j = 1; j <= d; j += 2)
      largest_pair = std::max(largest_pair, std::fabs(row[j]) + (j < d ? std::fabs(row[j + 1]) : 0.0f));
  }
  const auto length = [&](std::int64_t i) {
    return lengths_[static_cast<std::size_t>(order[static_cast<std::size_t>(first + i)])];
  };
  shortest[g] = length(0) / wider;
  longest[g] = length(members - 1) * wider;
  // Each of the two may be rounded up by a half.
  const float scale = scales[g] = std::min(scale_for(127, largest_pair), scale_for(largest_norm, longest[g]));
  float norm2 = 0, distance2 = 0;
  for (std::int64_t i = 0; i < members; ++i) {
    Rounded rounded;
    for (std::int64_t j = 0; j < d; ++j) {
      const std::int32_t value = rounded.add(column[(j + 1) * codeword_group + i], scale);
      const auto byte = static_cast<std::uint32_t>(static_cast<std::uint8_t>(value)) << (j % 2 * 8);
      words[static_cast<std::size_t>((first + i) * pairs + j / 2)] |=
          static_cast<std::int32_t>(byte | byte << 16);
      shifts[static_cast<std::size_t>(first + i)] += 128 * value;
    }
    norm2 = std::max(norm2, rounded.norm2);
    distance2 = std::max(distance2, rounded.distance2);
  }
  norms[g] = std::sqrt(norm2) * wider;
  distances[g] = std::sqrt(distance2) * wider;
}

}  // namespace bitfall
