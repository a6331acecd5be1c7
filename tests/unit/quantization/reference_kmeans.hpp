#pragma once
/// k-means as its rules read (include/bitfall/kmeans.hpp), one block after the other: no tiles, no threads,
/// no ranks, nothing kept from one iteration to the next. The oracle of the fast one.
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "bitfall/exact_sum.hpp"
#include "bitfall/kmeans.hpp"
#include "bitfall/quantized_layer.hpp"
#include "bitfall/random.hpp"

namespace reference {

using Block = std::vector<float>;  // compares with ==, for which -0 and 0 are equal

struct Points {
  std::vector<Block> blocks;    ///< as given
  std::vector<Block> whitened;  ///< L^T (2^exponent v)
  double largest = 0;
  int exponent = 0;
  double largest_norm2 = 0;
};

inline Block whiten(const Block& block, int exponent, const bitfall::Whitening& whitening) {
  Block scaled, out(block.size());
  for (const float value : block)
    scaled.push_back(static_cast<float>(std::ldexp(static_cast<double>(value), exponent)));
  whitening.apply(scaled, out);
  return out;
}

inline Points make_points(const std::vector<float>& values, std::size_t d,
                          const bitfall::Whitening& whitening) {
  Points points;
  for (const float value : values) points.largest = std::max(points.largest, std::fabs(double(value)));
  while (points.largest > 0 && std::ldexp(points.largest, points.exponent) < 1) ++points.exponent;
  while (std::ldexp(points.largest, points.exponent) >= 2) --points.exponent;
  for (std::size_t i = 0; i < values.size(); i += d) {
    points.blocks.emplace_back(values.begin() + std::ptrdiff_t(i), values.begin() + std::ptrdiff_t(i + d));
    points.whitened.push_back(whiten(points.blocks.back(), points.exponent, whitening));
    double norm2 = 0;
    for (const float value : points.whitened.back()) norm2 += double(value) * double(value);
    points.largest_norm2 = std::max(points.largest_norm2, norm2);
  }
  return points;
}

inline float squared_distance(const Block& a, const Block& b) {
  float sum = 0;
  for (std::size_t j = 0; j < a.size(); ++j) {
    const float difference = a[j] - b[j];
    sum = std::fma(difference, difference, sum);
  }
  return sum;
}

/// k-means++ with `candidates` draws a codeword.
inline std::vector<std::size_t> choose(const Points& points, std::size_t k, int candidates,
                                       std::uint64_t seed, std::uint64_t stream) {
  const std::size_t n = points.blocks.size();
  const auto scale =
      bitfall::FixedPoint::for_sum(4.1 * points.largest_norm2, std::int64_t(std::max(n, std::size_t{4096})));
  std::vector<float> nearest(n, FLT_MAX);
  const auto lowered = [&](std::size_t candidate) {
    std::vector<float> distances(nearest);
    for (std::size_t i = 0; i < n; ++i)
      distances[i] = std::min(nearest[i], squared_distance(points.whitened[i], points.whitened[candidate]));
    return distances;
  };
  const auto total = [&](const std::vector<float>& distances) {
    std::int64_t sum = 0;
    for (const float distance : distances) sum += scale.to_integer(double(distance));
    return sum;
  };
  std::vector<std::size_t> chosen{bitfall::random_below(seed, stream, 0, n)};
  nearest = lowered(chosen.front());
  while (chosen.size() < k) {
    std::size_t winner = n;
    if (total(nearest) == 0) {
      const auto is_chosen = [&](std::size_t i) {
        return std::any_of(chosen.begin(), chosen.end(),
                           [&](std::size_t c) { return points.blocks[c] == points.blocks[i]; });
      };
      for (winner = 0; is_chosen(winner);) ++winner;
    } else {
      for (int l = 0; l < candidates; ++l) {
        auto position = std::int64_t(bitfall::random_below(seed, stream, 64 * chosen.size() + std::size_t(l),
                                                           std::uint64_t(total(nearest))));
        std::size_t candidate = 0;
        while ((position -= scale.to_integer(double(nearest[candidate]))) >= 0) ++candidate;
        if (winner == n || total(lowered(candidate)) < total(lowered(winner))) winner = candidate;
      }
    }
    chosen.push_back(winner);
    nearest = lowered(winner);
  }
  return chosen;
}

struct Assignment {
  std::vector<std::size_t> codes;
  std::vector<float> errors;
};

inline Assignment assign(const Points& points, const std::vector<Block>& whitened_codebook) {
  Assignment result;
  std::vector<float> half_norms;
  for (const Block& codeword : whitened_codebook) {
    float norm2 = 0;
    for (const float value : codeword) norm2 = std::fma(value, value, norm2);
    half_norms.push_back(norm2 * 0.5f);
  }
  for (const Block& point : points.whitened) {
    std::size_t best = 0;
    float best_score = std::numeric_limits<float>::infinity();
    for (std::size_t c = 0; c < whitened_codebook.size(); ++c) {
      float score = half_norms[c];
      for (std::size_t j = 0; j < point.size(); ++j)
        score = std::fma(-point[j], whitened_codebook[c][j], score);
      if (score < best_score) {
        best_score = score;
        best = c;
      }
    }
    result.codes.push_back(best);
    result.errors.push_back(squared_distance(point, whitened_codebook[best]));
  }
  return result;
}

/// The new codewords of empty clusters, the worst served blocks first.
inline std::vector<std::size_t> worst_served(const Points& points, const Assignment& assignment,
                                             std::size_t k) {
  std::vector<std::size_t> order;
  std::map<std::size_t, std::size_t> kept;  // the best served block of each cluster
  for (std::size_t i = 0; i < points.blocks.size(); ++i) {
    order.push_back(i);
    const auto [entry, is_new] = kept.emplace(assignment.codes[i], i);
    if (!is_new && assignment.errors[i] < assignment.errors[entry->second]) entry->second = i;
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return assignment.errors[a] > assignment.errors[b]; });
  std::vector<std::size_t> worst;
  for (const std::size_t i : order) {
    const bool may_be_taken =
        assignment.errors[i] > 0 && points.blocks[i] != points.blocks[kept.at(assignment.codes[i])] &&
        std::none_of(worst.begin(), worst.end(),
                     [&](std::size_t other) { return points.blocks[i] == points.blocks[other]; });
    if (may_be_taken && worst.size() < k - kept.size()) worst.push_back(i);
  }
  return worst;
}

/// Means of the members, from integer sums. Empty clusters get the worst served blocks, which no longer count
/// in their old clusters. Returns the number of refilled clusters.
inline std::int64_t update(const Points& points, const Assignment& assignment, std::vector<Block>& codebook) {
  const auto scale = bitfall::FixedPoint::for_sum(points.largest, std::int64_t(points.blocks.size()));
  const auto worst = worst_served(points, assignment, codebook.size());
  std::size_t refilled = 0;
  for (std::size_t c = 0; c < codebook.size(); ++c) {
    std::vector<std::int64_t> sums(codebook[c].size(), 0);
    double members = 0;
    bool empty = true;
    for (std::size_t i = 0; i < points.blocks.size(); ++i) {
      if (assignment.codes[i] != c) continue;
      empty = false;
      if (std::find(worst.begin(), worst.end(), i) != worst.end()) continue;
      members += 1;
      for (std::size_t j = 0; j < sums.size(); ++j) sums[j] += scale.to_integer(double(points.blocks[i][j]));
    }
    if (!empty)
      for (std::size_t j = 0; j < sums.size(); ++j)
        codebook[c][j] = float(scale.to_double(sums[j]) / members);
    else if (refilled < worst.size())
      codebook[c] = points.blocks[worst[refilled++]];
  }
  return std::int64_t(refilled);
}

class Kmeans {
 public:
  Kmeans(const std::vector<float>& values, std::size_t d, const bitfall::Whitening& whitening,
         const bitfall::KmeansParameters& parameters)
      : points_(make_points(values, d, whitening)), whitening_(whitening), parameters_(parameters) {}

  bitfall::KmeansResult run() {
    const std::set<Block> distinct(points_.blocks.begin(), points_.blocks.end());
    const std::size_t k = std::min(std::size_t(parameters_.k), distinct.size());
    const bool greedy = std::int64_t(points_.blocks.size() * k) <= parameters_.greedy_limit;
    const int candidates = greedy ? 2 + int(std::log(double(k))) : 1;
    for (const std::size_t i : choose(points_, k, candidates, parameters_.seed, parameters_.stream))
      codebook_.push_back(points_.blocks[i]);
    bitfall::KmeansResult result;
    result.k = std::int64_t(k);
    for (std::int64_t t = 0; t < parameters_.iterations; ++t) {
      result.iterations.push_back(e_step());
      if (result.iterations.back().moved == 0) break;
      result.iterations.back().refilled = update(points_, assignment_, codebook_);
    }
    for (Block& codeword : codebook_)
      for (float& value : codeword) {
        result.codebook.push_back(bitfall::float_to_half(value));
        value = bitfall::half_to_float(result.codebook.back());
      }
    result.iterations.push_back(e_step());
    for (const std::size_t code : assignment_.codes) result.codes.push_back(std::uint16_t(code));
    return result;
  }

 private:
  bitfall::KmeansIteration e_step() {
    std::vector<Block> whitened;
    double largest = 0;
    for (const Block& codeword : codebook_) {
      whitened.push_back(whiten(codeword, points_.exponent, whitening_));
      float norm2 = 0;
      for (const float value : whitened.back()) norm2 = std::fma(value, value, norm2);
      largest = std::max(largest, double(norm2));
    }
    const Assignment now = assign(points_, whitened);
    const double bound = std::sqrt(points_.largest_norm2) + std::sqrt(largest);
    const auto scale = bitfall::FixedPoint::for_sum(1.01 * bound * bound, std::int64_t(now.codes.size()));
    std::int64_t objective = 0, moved = 0;
    for (std::size_t i = 0; i < now.codes.size(); ++i) {
      objective += scale.to_integer(double(now.errors[i]));
      if (assignment_.codes.empty() || assignment_.codes[i] != now.codes[i]) ++moved;
    }
    assignment_ = now;
    return {std::ldexp(scale.to_double(objective), -2 * points_.exponent), moved, 0, 0};
  }

  Points points_;
  const bitfall::Whitening& whitening_;
  bitfall::KmeansParameters parameters_;
  std::vector<Block> codebook_;
  Assignment assignment_;
};

/// Kinds of blocks that k-means meets or that could break it.
enum class Kind { normal, clustered, grid, sparse, equal, zeros, tiny, outlier, wide, kinds };

inline std::vector<float> make_blocks(Kind kind, std::size_t n, std::size_t d, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> values(n * d);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float x = normal(random);
    const std::size_t row = i / d;
    switch (kind) {
      case Kind::normal:
        values[i] = 0.05f * x;
        break;
      case Kind::clustered:
        values[i] = float(row % 7) + 0.01f * x;
        break;
      case Kind::grid:
        values[i] = float(int(random() % 3) - 1);
        break;
      case Kind::sparse:
        values[i] = random() % 4 ? (random() % 2 ? 0.0f : -0.0f) : x;
        break;
      case Kind::equal:
        values[i] = 0.25f + float(i % d);
        break;
      case Kind::zeros:
        values[i] = random() % 2 ? 0.0f : -0.0f;
        break;
      case Kind::tiny:
        values[i] = 1e-42f * x;
        break;
      case Kind::outlier:
        values[i] = row == n / 2 ? 6e4f : 1e-3f * x;
        break;
      default:
        values[i] = x * std::ldexp(1.0f, int(random() % 24) - 20);
        break;
    }
  }
  return values;
}

/// Identity, a Gram matrix of full rank, or one of rank 1 (a layer whose other inputs are dead).
inline bitfall::Whitening make_whitening(int rank, std::size_t d, std::mt19937& random) {
  if (rank == 0) return bitfall::Whitening::identity(std::int64_t(d));
  std::normal_distribution<double> normal;
  std::vector<double> gram(d * d, 0.0), row(d);
  for (std::size_t s = 0; s < (rank == 1 ? 1 : 3 * d); ++s) {
    for (double& x : row) x = normal(random);
    for (std::size_t i = 0; i < d; ++i)
      for (std::size_t j = 0; j < d; ++j) gram[i * d + j] += row[i] * row[j];
  }
  return bitfall::Whitening::from_gram(gram, std::int64_t(d));
}

}  // namespace reference
