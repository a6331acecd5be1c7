#include "quantization/kmeans_blocks.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include "bitfall/communicator.hpp"
#include "bitfall/errors.hpp"
#include "parallel/threads.hpp"

namespace bitfall {

int useful_threads(std::int64_t steps, int threads) {
  // 2^19 steps take some 10 microseconds, about what it costs to wake a sleeping thread.
  return static_cast<int>(std::clamp<std::int64_t>(steps >> 19, 1, threads));
}

BlockScale measure_blocks(std::span<const float> blocks, std::int64_t d) {
  float largest = 0;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const float magnitude = std::fabs(blocks[i]);
    if (!std::isfinite(magnitude))
      throw DataError("k-means: value " + std::to_string(i % static_cast<std::size_t>(d)) + " of block " +
                      std::to_string(i / static_cast<std::size_t>(d)) + " is " + std::to_string(blocks[i]) +
                      "; the weights must be finite");
    largest = std::max(largest, magnitude);
  }
  if (largest == 0) return {};
  return {static_cast<double>(largest), -std::ilogb(largest)};
}

std::vector<float> scale_blocks(std::span<const float> blocks, const BlockScale& scale) {
  // In double: 2^149 is no float, and the product of a float and a power of two is exact.
  const double factor = std::ldexp(1.0, scale.exponent);
  std::vector<float> scaled(blocks.size());
  for (std::size_t i = 0; i < blocks.size(); ++i)
    scaled[i] = static_cast<float>(static_cast<double>(blocks[i]) * factor);
  return scaled;
}

void KmeansInput::whiten(std::span<const float> rows, std::span<float> out) const {
  whitening.apply(scale_blocks(rows, scale), out);
}

TiledBlocks tile_blocks(const KmeansInput& input, std::int64_t first, std::int64_t count, int threads) {
  const std::int64_t d = input.d;
  TiledBlocks result;
  result.d = d;
  result.first = first;
  result.count = count;
  const int team = useful_threads(count * d * d, threads);
  result.tiles.assign(static_cast<std::size_t>(result.groups() * group_points * d), 0.0f);
  std::vector<double> norms(static_cast<std::size_t>(team), 0.0);
  parallel_for(team, team, [&](std::int64_t thread) {
    const auto share = Communicator::share(result.groups(), static_cast<int>(thread), team);
    std::vector<float> rows(static_cast<std::size_t>(group_points * d));
    double largest = 0;
    for (std::int64_t group = share.first; group < share.last; ++group) {
      const std::int64_t offset = group * group_points;
      const std::int64_t points = std::min(group_points, count - offset);
      input.whiten(input.block(first + offset, points),
                   std::span(rows).first(static_cast<std::size_t>(points * d)));
      float* tiles = result.tiles.data() + offset * d;
      for (std::int64_t i = 0; i < points; ++i) {
        double norm2 = 0;
        for (std::int64_t j = 0; j < d; ++j) {
          const float value = rows[static_cast<std::size_t>(i * d + j)];
          tiles[(i / tile_points * d + j) * tile_points + i % tile_points] = value;
          norm2 += static_cast<double>(value) * static_cast<double>(value);
        }
        largest = std::max(largest, norm2);
      }
    }
    norms[static_cast<std::size_t>(thread)] = largest;
  });
  result.largest_norm2 = *std::max_element(norms.begin(), norms.end());
  return result;
}

std::size_t BlockIdentity::operator()(std::int64_t block) const {
  std::uint64_t hash = 0x9e3779b97f4a7c15u;
  for (std::int64_t j = 0; j < d_; ++j) {
    // Adding +0 turns -0 into +0. The mixing is that of splitmix64 (Steele et al., OOPSLA 2014).
    hash ^= std::bit_cast<std::uint32_t>(blocks_[block * d_ + j] + 0.0f);
    hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9u;
    hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebu;
  }
  return static_cast<std::size_t>(hash ^ (hash >> 31));
}

bool BlockIdentity::operator()(std::int64_t a, std::int64_t b) const {
  return std::equal(blocks_ + a * d_, blocks_ + (a + 1) * d_, blocks_ + b * d_);
}

std::int64_t count_distinct(std::span<const float> blocks, std::int64_t d, std::int64_t limit) {
  const BlockIdentity identity(blocks, d);
  std::unordered_set<std::int64_t, BlockIdentity, BlockIdentity> seen(16, identity, identity);
  const std::int64_t count = static_cast<std::int64_t>(blocks.size()) / d;
  for (std::int64_t i = 0; i < count && static_cast<std::int64_t>(seen.size()) < limit; ++i) seen.insert(i);
  return static_cast<std::int64_t>(seen.size());
}

}  // namespace bitfall
