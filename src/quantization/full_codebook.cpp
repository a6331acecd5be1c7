// The least-squares codebook of FullDescent: conjugate gradients on
//   (A^T (w H) A) x = A^T (w E H),
// A the linear map from codebooks (k x d) to decoded rows, x the change of the codebook.
#include <algorithm>
#include <cmath>
#include <cstddef>

#include "bitfall/exact_sum.hpp"
#include "parallel/threads.hpp"
#include "quantization/full_descent.hpp"
#include "quantization/spd_solve.hpp"

namespace bitfall {
namespace {

double dot(std::span<const double> a, std::span<const double> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace

/// g_c = sum over the members (r, j) of c of w_r values_(r, j), exactly. `values` has the layout of P and
/// magnitudes of at most `bound`.
std::vector<double> FullDescent::gather(std::span<const float> values, double bound) const {
  double weight = 0;
  for (const std::int64_t w : row_weights_) weight = std::max(weight, row_weight_unit * double(w));
  const FixedPoint scale = FixedPoint::for_sum(1.01 * weight * bound, rows_ * m_);
  std::vector<std::int64_t> sums(scaled_.size(), 0);
  for (std::int64_t r = 0; r < local_rows(); ++r) {
    const double factor = row_weight_unit * double(row_weights_[static_cast<std::size_t>(share_.first + r)]);
    const float* row = values.data() + r * stride_;
    for (std::int64_t j = 0; j < m_; ++j) {
      std::int64_t* sum = sums.data() + codes_[static_cast<std::size_t>(r * m_ + j)] * d_;
      for (std::int64_t a = 0; a < d_; ++a) sum[a] += scale.to_integer(factor * double(row[j * d_ + a]));
    }
  }
  communicator_.sum(sums);
  std::vector<double> result(sums.size());
  for (std::size_t i = 0; i < sums.size(); ++i) result[i] = scale.to_double(sums[i]);
  return result;
}

std::vector<double> FullDescent::gradient() const {
  double largest = 0;
  for (const float product : products_) largest = std::max(largest, std::abs(double(product)));
  return gather(products_, communicator_.max(largest));
}

/// A^T (w H) A of `direction`; `products` becomes (A direction) H.
std::vector<double> FullDescent::apply_normal(std::span<const double> direction,
                                              AlignedVector<float>& products) const {
  const std::vector<float> codebook(direction.begin(), direction.end());
  double largest = 0;
  for (const float value : codebook) largest = std::max(largest, std::abs(double(value)));
  multiply([&](std::int64_t row, float* out) { decode_row(row, codebook, out); }, products);
  return gather(products, largest * gram_.largest_column_sum());
}

/// Cholesky factors of M_c = sum_j n_jc H_jj + ridge, k x d x d: the preconditioner.
std::vector<double> FullDescent::factor_diagonal_blocks() const {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(k_ * m_), 0);
  for (std::int64_t r = 0; r < local_rows(); ++r)
    for (std::int64_t j = 0; j < m_; ++j)
      counts[static_cast<std::size_t>(codes_[static_cast<std::size_t>(r * m_ + j)] * m_ + j)] +=
          row_weights_[static_cast<std::size_t>(share_.first + r)];
  communicator_.sum(counts);
  const auto size = static_cast<std::size_t>(d_ * d_);
  std::vector<double> factors(static_cast<std::size_t>(k_) * size, 0.0);
  parallel_for(k_, threads_, [&](std::int64_t code) {
    const std::span<double> block = std::span(factors).subspan(static_cast<std::size_t>(code) * size, size);
    for (std::int64_t j = 0; j < m_; ++j) {
      const std::int64_t count = counts[static_cast<std::size_t>(code * m_ + j)];
      if (count == 0) continue;
      const float* gram = diagonal_.data() + static_cast<std::size_t>(j) * size;
      for (std::size_t i = 0; i < size; ++i) block[i] += row_weight_unit * double(count) * double(gram[i]);
    }
    double trace = 0;
    for (std::int64_t a = 0; a < d_; ++a) trace += block[static_cast<std::size_t>(a * d_ + a)];
    const double ridge = trace > 0 ? 1e-7 * trace / double(d_) : 1.0;
    for (std::int64_t a = 0; a < d_; ++a) block[static_cast<std::size_t>(a * d_ + a)] += ridge;
    cholesky(block, d_, ridge);
  });
  return factors;
}

void FullDescent::fit_codebook(std::int64_t iterations) {
  const auto size = static_cast<std::size_t>(d_ * d_);
  const auto d = static_cast<std::size_t>(d_);
  const std::vector<double> factors = factor_diagonal_blocks();
  const auto precondition = [&](std::vector<double> vector) {
    for (std::size_t c = 0; c < static_cast<std::size_t>(k_); ++c)
      solve_cholesky(std::span(factors).subspan(c * size, size), d_, std::span(vector).subspan(c * d, d));
    return vector;
  };
  std::vector<double> residual = gradient();
  std::vector<double> direction = precondition(residual);
  std::vector<double> change(residual.size(), 0.0);
  AlignedVector<float> products(products_.size(), 0.0f);
  double norm = dot(residual, direction);
  const double enough = 1e-6 * norm;
  for (std::int64_t i = 0; i < iterations && norm > enough; ++i) {
    const std::vector<double> image = apply_normal(direction, products);
    const double curvature = dot(direction, image);
    if (!(curvature > 0)) break;
    const double step = norm / curvature;
    for (std::size_t j = 0; j < change.size(); ++j) {
      change[j] += step * direction[j];
      residual[j] -= step * image[j];
    }
    // The error falls by step * A direction, so P by its product with H, which is there.
    const auto factor = static_cast<float>(step);
    for (std::size_t p = 0; p < products_.size(); ++p) products_[p] -= factor * products[p];
    const std::vector<double> next = precondition(residual);
    const double next_norm = dot(residual, next);
    for (std::size_t j = 0; j < change.size(); ++j) direction[j] = next[j] + next_norm / norm * direction[j];
    norm = next_norm;
  }
  std::vector<float> codebook(codebook_);
  for (std::size_t j = 0; j < change.size(); ++j)
    codebook[j] = static_cast<float>(double(codebook[j]) + std::ldexp(change[j], -exponent_));
  replace_codebook(codebook);
}

}  // namespace bitfall
