#include "quantization/spd_solve.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace bitfall {

void cholesky(std::span<double> a, std::int64_t size, double floor) {
  const auto d = static_cast<std::size_t>(size);
  for (std::size_t column = 0; column < d; ++column) {
    double pivot = a[column * d + column];
    for (std::size_t p = 0; p < column; ++p) pivot -= a[column * d + p] * a[column * d + p];
    const double root = std::sqrt(std::max(pivot, floor));
    a[column * d + column] = root;
    for (std::size_t row = column + 1; row < d; ++row) {
      double value = a[row * d + column];
      for (std::size_t p = 0; p < column; ++p) value -= a[row * d + p] * a[column * d + p];
      const double most = 2 * std::sqrt(a[row * d + row]);
      a[row * d + column] = std::clamp(value / root, -most, most);
    }
  }
}

void solve_cholesky(std::span<const double> factor, std::int64_t size, std::span<double> x) {
  const auto d = static_cast<std::size_t>(size);
  for (std::size_t row = 0; row < d; ++row) {  // L z = x
    for (std::size_t p = 0; p < row; ++p) x[row] -= factor[row * d + p] * x[p];
    x[row] /= factor[row * d + row];
  }
  for (std::size_t row = d; row-- > 0;) {  // L^T y = z
    for (std::size_t p = row + 1; p < d; ++p) x[row] -= factor[p * d + row] * x[p];
    x[row] /= factor[row * d + row];
  }
}

}  // namespace bitfall
