#pragma once
/// The weight whose outputs on the student's inputs come nearest to the teacher's.
#include <cstdint>
#include <span>
#include <vector>

#include "quantization/gram_product.hpp"
#include "quantization/problem.hpp"

namespace bitfall {

/// T = W + X with X H' = B - W H, H' the damped Gram matrix: minimises sum |T x - y|^2 + damping |T - W|^2.
/// By at most `iterations` conjugate gradients in each row, which stop short of directions that the inputs
/// hardly excite. rows x D, complete on every rank (collective). `wanted` is B.
[[nodiscard]] std::vector<float> target_weight(const Problem& problem, const PackedGram& gram,
                                               std::span<const double> wanted, std::int64_t iterations);

}  // namespace bitfall
