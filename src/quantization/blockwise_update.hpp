#pragma once
/// The M-step of blockwise k-means.
#include <cstdint>
#include <span>

#include "bitfall/communicator.hpp"
#include "quantization/kmeans_blockwise.hpp"

namespace bitfall {

/// One rank's part of the blocks and their codes.
struct BlockwiseMembers {
  const PositionBlocks& blocks;
  double largest;  ///< magnitude of any of their values
  const PositionMetrics& metrics;
  std::span<const std::int64_t> row_weights;
  Communicator::Range positions;        ///< this rank's
  std::span<const std::int32_t> codes;  ///< of those positions, position outermost
};

/// Each codeword becomes the solution of (A + ridge) (c - c_old) = b - A c_old with
///   A = sum_j n_jc G_j,  b = sum_j G_j s_jc,  n_jc and s_jc: sums of w_r and w_r v over its members at j.
/// The ridge of 1e-7 trace(A) / d keeps directions that no input excites where they were. Codewords without
/// members stay. Collective; k (d + 3) d / 2 integers are summed over ranks.
void update_codebook(const BlockwiseMembers& members, int threads, std::span<float> codebook,
                     const Communicator& communicator);

}  // namespace bitfall
