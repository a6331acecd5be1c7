#include "quantization/kmeans_init.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "bitfall/exact_sum.hpp"
#include "bitfall/random.hpp"
#include "parallel/threads.hpp"

namespace bitfall {
namespace {

constexpr std::int64_t chunk_groups = 64;  ///< groups whose distances are summed together (4,096 points)
constexpr std::uint64_t draws_per_codeword = 64;

/// out[i] = min(old[i], |x_i - c|^2) for the 64 points of a group; plain multiplications and additions in
/// index order, so every instruction set gives the same bits. 3 d + 1 operations a point, 4 d + 8 bytes.
__attribute__((target_clones("avx512f", "avx2", "default"))) void closest(const float* group,
                                                                          const float* center, std::int64_t d,
                                                                          const float* old, float* out) {
  for (std::int64_t tile = 0; tile < group_points / tile_points; ++tile) {
    const float* x = group + tile * d * tile_points;
    float sum[tile_points] = {};
    for (std::int64_t j = 0; j < d; ++j) {
      for (std::int64_t i = 0; i < tile_points; ++i) {
        const float difference = x[j * tile_points + i] - center[j];
        sum[i] += difference * difference;
      }
    }
    for (std::int64_t i = 0; i < tile_points; ++i)
      out[tile * tile_points + i] = std::min(old[tile * tile_points + i], sum[i]);
  }
}

std::vector<float> point(const TiledBlocks& points, std::int64_t index) {
  std::vector<float> x(static_cast<std::size_t>(points.d));
  for (std::int64_t j = 0; j < points.d; ++j)
    x[static_cast<std::size_t>(j)] = points.tiles[static_cast<std::size_t>(
        (index / tile_points * points.d + j) * tile_points + index % tile_points)];
  return x;
}

/// Squared distances to the nearest chosen point, and their integer sums.
class Distances {
 public:
  Distances(const TiledBlocks& points, int threads)
      : points_(points),
        threads_(threads),
        // |x - y|^2 <= (|x| + |y|)^2 <= 4 max |x|^2, twice that for rounding.
        scale_(FixedPoint::for_sum(8 * points.largest_norm2, std::max<std::int64_t>(points.count, 1))),
        values_(static_cast<std::size_t>(points.groups() * group_points), std::numeric_limits<float>::max()),
        sums_(static_cast<std::size_t>((points.groups() + chunk_groups - 1) / chunk_groups)) {}

  /// The distances with `center` added to what `old` has. Returns their total.
  std::int64_t update(const Distances& old, const std::vector<float>& center) {
    parallel_for(static_cast<std::int64_t>(sums_.size()), threads_, [&](std::int64_t chunk) {
      const std::int64_t first = chunk * chunk_groups,
                         last = std::min(first + chunk_groups, points_.groups());
      std::int64_t sum = 0;
      for (std::int64_t group = first; group < last; ++group) {
        const auto begin = static_cast<std::size_t>(group * group_points);
        closest(points_.group(group), center.data(), points_.d, old.values_.data() + begin,
                values_.data() + begin);
        const std::int64_t valid = std::min(group_points, points_.count - group * group_points);
        for (std::int64_t i = 0; i < valid; ++i) sum += integer(static_cast<std::int64_t>(begin) + i);
      }
      sums_[static_cast<std::size_t>(chunk)] = sum;
    });
    total_ = 0;
    for (const std::int64_t sum : sums_) total_ += sum;
    return total_;
  }

  /// The point at which the running sum of distances passes `target` < total().
  [[nodiscard]] std::int64_t find(std::int64_t target) const {
    std::size_t chunk = 0;
    while (target >= sums_[chunk]) target -= sums_[chunk++];
    std::int64_t index = static_cast<std::int64_t>(chunk) * chunk_groups * group_points;
    while (target >= integer(index)) target -= integer(index++);
    return index;
  }
  [[nodiscard]] std::int64_t total() const { return total_; }

  void swap(Distances& other) {
    values_.swap(other.values_);
    sums_.swap(other.sums_);
    std::swap(total_, other.total_);
  }

 private:
  [[nodiscard]] std::int64_t integer(std::int64_t i) const {
    return scale_.to_integer(static_cast<double>(values_[static_cast<std::size_t>(i)]));
  }

  const TiledBlocks& points_;
  int threads_;
  FixedPoint scale_;
  std::vector<float> values_;
  std::vector<std::int64_t> sums_;
  std::int64_t total_ = 0;
};

}  // namespace

std::vector<std::int64_t> kmeans_plus_plus(const TiledBlocks& points, std::int64_t k,
                                           const KmeansParameters& parameters) {
  const bool greedy = points.count * k <= parameters.greedy_limit;
  const int candidates = greedy ? 2 + static_cast<int>(std::log(static_cast<double>(k))) : 1;
  const auto draw = [&](std::int64_t codeword, int candidate, std::int64_t bound) {
    const std::uint64_t index =
        static_cast<std::uint64_t>(codeword) * draws_per_codeword + static_cast<std::uint64_t>(candidate);
    return static_cast<std::int64_t>(
        random_below(parameters.seed, parameters.stream, index, static_cast<std::uint64_t>(bound)));
  };
  std::vector<std::int64_t> chosen = {draw(0, 0, points.count)};
  Distances now(points, parameters.threads), trial = now, best = now;
  now.update(trial, point(points, chosen.front()));
  while (static_cast<std::int64_t>(chosen.size()) < k) {
    std::int64_t winner = -1;
    for (int candidate = 0; candidate < candidates; ++candidate) {
      const auto codeword = static_cast<std::int64_t>(chosen.size());
      // All points lie on chosen ones (a metric that does not tell them apart): any will do.
      const std::int64_t index = now.total() > 0 ? now.find(draw(codeword, candidate, now.total()))
                                                 : draw(codeword, candidate, points.count);
      const std::int64_t total = trial.update(now, point(points, index));
      if (winner >= 0 && total >= best.total()) continue;
      winner = index;
      trial.swap(best);
    }
    chosen.push_back(winner);
    now.swap(best);
  }
  return chosen;
}

}  // namespace bitfall
