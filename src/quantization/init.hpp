#pragma once
/// k-means++ (Arthur and Vassilvitskii, SODA 2007), plain and greedy, in integers.
#include <cstdint>
#include <vector>

#include "bitfall/communicator.hpp"
#include "quantization/kmeans_blocks.hpp"

namespace bitfall {

struct InitParameters {
  std::int64_t k = 0;  ///< at most the number of distinct blocks
  std::uint64_t seed = 0;
  std::uint64_t stream = 0;
  int candidates = 1;  ///< draws per codeword, of which the best is taken (1: plain k-means++)
  int threads = 1;
};

/// The number of candidates of greedy k-means++ that its authors and scikit-learn use: 2 + floor(ln k).
[[nodiscard]] int greedy_candidates(std::int64_t k);

/// Indices of k different blocks. The first is uniform; each further one is drawn with probability
/// proportional to its squared distance to the nearest chosen one, `candidates` times, and the draw that
/// leaves the smallest sum of squared distances is taken, ties to the first. Distances are summed as
/// integers, so the choice does not depend on ranks and threads. When all distances are zero the first
/// blocks that differ from all chosen ones are taken.
///
/// Collective over `communicator`: `points` of all ranks together are all points, in rank order. Each rank
/// has the same indices afterwards. At most two sums of a few integers a codeword.
[[nodiscard]] std::vector<std::int64_t> choose_initial_blocks(const KmeansInput& input,
                                                              const TiledBlocks& points,
                                                              const InitParameters& parameters,
                                                              const Communicator& communicator);

}  // namespace bitfall
