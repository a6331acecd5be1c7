#pragma once
#include "bitfall/network.hpp"

namespace bitfall {

/// Folds the running statistics of every batch norm into its scale and shift, with the same outputs up to rounding:
///   scale' = gamma / sqrt(variance + epsilon), shift' = beta - mean * scale', mean' = 0, variance' = 1 - epsilon.
/// Batch norms without scale and shift stay as they are.
void fold_batch_norms(Network& network);

}  // namespace bitfall
