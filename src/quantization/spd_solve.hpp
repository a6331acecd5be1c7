#pragma once
/// Small symmetric positive definite systems, in double, the same operations in the same order everywhere.
#include <cstdint>
#include <span>

namespace bitfall {

/// In place: the lower triangle of `a` (d x d, row major) becomes its Cholesky factor L. A pivot that cancels
/// to nothing is replaced by `floor` > 0, so that the factor is always invertible. The diagonal is positive.
/// Of a positive definite matrix no |L_ij| is above sqrt(a_ii); twice that is the limit here, without which a
/// matrix that is not (the Gram matrix of inputs so small that their squares are denormal numbers) makes
/// factors without bounds: 1e3, 1e10, infinity.
void cholesky(std::span<double> a, std::int64_t d, double floor);

/// In place: x becomes the solution of L L^T y = x.
void solve_cholesky(std::span<const double> factor, std::int64_t d, std::span<double> x);

}  // namespace bitfall
