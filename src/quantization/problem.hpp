#pragma once
/// What the finer metrics work on.
#include <cstdint>
#include <vector>

#include "bitfall/communicator.hpp"
#include "bitfall/quantizer.hpp"
#include "quantization/backend.hpp"

namespace bitfall {

/// A weight and who works on it. Everything it refers to outlives it.
struct Problem {
  WeightBlocks weight;
  /// w_r as integers, so that sums of them are exact: units of 2^-20 of their mean, at least one.
  std::vector<std::int64_t> row_weights;
  int threads = 1;
  const Communicator& communicator;
  const Backend& backend = cpu_backend();  ///< what E-steps run on
};
constexpr double row_weight_unit = 0x1p-20;
/// `weights` scaled to mean 1; empty ones are all 1.
[[nodiscard]] std::vector<std::int64_t> integer_row_weights(std::span<const double> weights,
                                                            std::int64_t rows);

}  // namespace bitfall
