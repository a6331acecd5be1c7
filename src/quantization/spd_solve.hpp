#pragma once
/// Small symmetric positive definite systems, in double, the same operations in the same order everywhere.
#include <cstdint>
#include <span>

namespace bitfall {

/// In place: the lower triangle of `a` (d x d, row major) becomes its Cholesky factor L. A pivot that cancels
/// to nothing is replaced by `floor` > 0, so that the factor is always invertible.
void cholesky(std::span<double> a, std::int64_t d, double floor);

/// In place: x becomes the solution of L L^T y = x.
void solve_cholesky(std::span<const double> factor, std::int64_t d, std::span<double> x);

}  // namespace bitfall
