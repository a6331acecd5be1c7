#pragma once
/// Problems for the finer metrics, and their objective written out: dense, in double, nothing shared with the
/// code under test.
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "bitfall/quantizer.hpp"

namespace oracle {

using Matrix = std::vector<std::vector<double>>;

inline Matrix zeros(std::size_t rows, std::size_t columns) {
  return Matrix(rows, std::vector<double>(columns, 0.0));
}

/// A second moment of `samples` correlated inputs; the columns of `dead` blocks of d are zero.
inline Matrix second_moment(std::size_t columns, std::size_t samples, std::size_t d, std::size_t dead,
                            std::mt19937& random) {
  std::normal_distribution<double> normal;
  Matrix h = zeros(columns, columns);
  std::vector<double> x(columns);
  for (std::size_t s = 0; s < samples; ++s) {
    double carried = 0;
    for (std::size_t p = 0; p < columns; ++p) {
      carried = 0.8 * carried + normal(random);
      x[p] = p / d < dead ? 0.0 : (1.0 + double(p % 5)) * carried;
    }
    for (std::size_t a = 0; a < columns; ++a)
      for (std::size_t b = 0; b < columns; ++b) h[a][b] += x[a] * x[b];
  }
  return h;
}

inline std::vector<double> lower_triangle(const Matrix& h) {
  std::vector<double> lower;
  for (std::size_t a = 0; a < h.size(); ++a)
    lower.insert(lower.end(), h[a].begin(), h[a].begin() + std::ptrdiff_t(a) + 1);
  return lower;
}

inline std::vector<double> diagonal_blocks(const Matrix& h, std::size_t d) {
  std::vector<double> blocks;
  for (std::size_t first = 0; first < h.size(); first += d)
    for (std::size_t a = 0; a < d; ++a)
      for (std::size_t b = 0; b < d; ++b) blocks.push_back(h[first + a][first + b]);
  return blocks;
}

struct Case {
  std::size_t rows = 0, d = 0;
  Matrix h;
  std::vector<float> weight;
  bitfall::LayerMoments moments;

  Case(std::size_t row_count, std::size_t positions, std::size_t width, std::size_t dead, bool weighted,
       std::mt19937& random)
      : rows(row_count), d(width) {
    h = second_moment(positions * d, 3 * positions * d, d, dead, random);
    std::normal_distribution<float> normal(0.01f, 0.1f);
    for (std::size_t i = 0; i < rows * h.size(); ++i) weight.push_back(normal(random));
    moments.full = lower_triangle(h);
    moments.per_position = diagonal_blocks(h, d);
    moments.pooled.assign(d * d, 0.0);
    for (std::size_t i = 0; i < moments.per_position.size(); ++i)
      moments.pooled[i % (d * d)] += moments.per_position[i];
    if (weighted)
      for (std::size_t r = 0; r < rows; ++r) moments.row_weights.push_back(r % 3 == 0 ? 4.0 : 0.5);
  }

  [[nodiscard]] bitfall::WeightBlocks blocks() const { return {weight, std::int64_t(rows), std::int64_t(d)}; }
  /// Weights of mean 1.
  [[nodiscard]] double row_weight(std::size_t r) const {
    if (moments.row_weights.empty()) return 1;
    double sum = 0;
    for (const double w : moments.row_weights) sum += w;
    return moments.row_weights[r] * double(rows) / sum;
  }
  template <class Code>
  [[nodiscard]] std::vector<double> error_row(std::size_t r, const std::vector<float>& codebook,
                                              const std::vector<Code>& codes) const {
    std::vector<double> e(h.size());
    const std::size_t m = h.size() / d;
    for (std::size_t p = 0; p < h.size(); ++p)
      e[p] =
          double(weight[r * h.size() + p]) - double(codebook[std::size_t(codes[r * m + p / d]) * d + p % d]);
    return e;
  }
  /// sum_r w_r e_r^T (H + damping * mean diagonal * I) e_r; with `blockwise` only blocks on the diagonal.
  template <class Code>
  [[nodiscard]] double objective(const std::vector<float>& codebook, const std::vector<Code>& codes,
                                 bool blockwise, double damping) const {
    double trace = 0;
    for (std::size_t a = 0; a < h.size(); ++a) trace += h[a][a];
    double sum = 0;
    for (std::size_t r = 0; r < rows; ++r) {
      const auto e = error_row(r, codebook, codes);
      for (std::size_t a = 0; a < h.size(); ++a)
        for (std::size_t b = 0; b < h.size(); ++b) {
          if (blockwise && a / d != b / d) continue;
          const double entry = h[a][b] + (a == b ? damping * trace / double(h.size()) : 0.0);
          sum += row_weight(r) * e[a] * entry * e[b];
        }
    }
    return sum;
  }
};

/// Gaussian elimination with pivots.
inline std::vector<double> solve(Matrix a, std::vector<double> b) {
  const std::size_t n = b.size();
  for (std::size_t column = 0; column < n; ++column) {
    std::size_t pivot = column;
    for (std::size_t r = column; r < n; ++r)
      if (std::abs(a[r][column]) > std::abs(a[pivot][column])) pivot = r;
    std::swap(a[column], a[pivot]);
    std::swap(b[column], b[pivot]);
    for (std::size_t r = column + 1; r < n; ++r) {
      const double factor = a[r][column] / a[column][column];
      for (std::size_t c = column; c < n; ++c) a[r][c] -= factor * a[column][c];
      b[r] -= factor * b[column];
    }
  }
  for (std::size_t r = n; r-- > 0;) {
    for (std::size_t c = r + 1; c < n; ++c) b[r] -= a[r][c] * b[c];
    b[r] /= a[r][r];
  }
  return b;
}

}  // namespace oracle
