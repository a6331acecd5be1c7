#pragma once
#include <string>
#include <vector>

#include "bitfall/network.hpp"

namespace bitfall {

/// Folds the running statistics of every foldable batch norm into its scale and shift, with the same outputs
/// up to rounding:
///   scale' = gamma / sqrt(variance + epsilon), shift' = beta - mean * scale', mean' = 0, variance' = 1 -
///   epsilon
/// where variance' is chosen such that variance' + epsilon is exactly 1 in the arithmetic of the network. The
/// statistics are then known without being stored. Batch norms that share tensors with anything else, or
/// have no scale and shift, stay as they are. Folding twice changes nothing.
void fold_batch_norms(Network& network);

/// The names of the running means and variances that folding makes known, in network order.
[[nodiscard]] std::vector<std::string> folded_statistics(const Network& network);

/// Writes the folded values of those statistics: what a reader of an archive that stores none of them calls.
void set_folded_statistics(Network& network);

}  // namespace bitfall
