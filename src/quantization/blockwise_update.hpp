#pragma once
/// The M-step of blockwise k-means.
#include <cstdint>
#include <span>
#include <vector>

#include "bitfall/communicator.hpp"
#include "bitfall/exact_sum.hpp"
#include "quantization/blockwise_sums.hpp"
#include "quantization/kmeans_blockwise.hpp"

namespace bitfall {

/// One rank's part of the blocks.
struct BlockwiseMembers {
  const PositionBlocks& blocks;
  double largest;  ///< magnitude of any of their values
  const PositionMetrics& metrics;
  std::span<const std::int64_t> row_weights;
  Communicator::Range positions;  ///< this rank's
};

/// Each codeword becomes the solution of (A + ridge) (c - c_old) = b - A c_old with
///   A = sum_j n_jc G_j,  b = sum_j G_j s_jc,  n_jc and s_jc: sums of w_r and w_r v over its members at j.
/// The ridge of 1e-7 trace(A) / d keeps directions that no input excites where they were. Codewords without
/// members stay.
///
/// Every n_jc G_j and G_j s_jc is rounded to integers, so what a cluster had at a position can be taken out
/// of A and b without an error: an update costs what has moved since the one before.
class BlockwiseUpdate {
 public:
  /// What `members` refers to outlives this.
  BlockwiseUpdate(const BlockwiseMembers& members, std::int64_t k, int threads);

  /// `codes` are those of this rank's positions, position outermost. Collective; k (d + 3) d / 2 integers are
  /// summed over ranks.
  void update(std::span<const std::int32_t> codes, std::span<float> codebook,
              const Communicator& communicator);

 private:
  /// What a thread keeps: its part of A and b, and the changes of the position at hand.
  struct Worker {
    Worker(std::int64_t k, std::int64_t d, std::int64_t row);
    AlignedVector<std::int64_t> sums;  ///< k rows
    MemberSums gained, lost;
    std::vector<char> changed;  ///< by code
    std::vector<std::int32_t> clusters, gained_rows, lost_rows;
    std::vector<ClusterChange> changes;
    PositionGram gram;
  };

  void move_members(std::int64_t local, std::span<const std::int32_t> codes, Worker& worker);
  void change_clusters(std::int64_t local, Worker& worker);
  void solve(std::span<const std::int64_t> sums, std::span<float> codeword) const;

  BlockwiseMembers members_;
  std::int64_t k_, d_;
  std::int64_t triangle_;  ///< entries of one
  FixedPoint matrix_scale_, vector_scale_;
  SumScales scales_;  ///< the same
  std::vector<double> row_weights_;
  std::vector<std::int32_t> codes_;  ///< those in the sums; -1: none yet
  std::vector<Worker> workers_;
};

}  // namespace bitfall
