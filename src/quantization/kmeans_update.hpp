#pragma once
/// This rank's codes, and the integer sums over the members of every cluster.
#include <cstdint>
#include <span>
#include <vector>

#include "bitfall/communicator.hpp"
#include "bitfall/exact_sum.hpp"
#include "quantization/estep.hpp"
#include "quantization/kmeans_blocks.hpp"

namespace bitfall {

struct AssignmentTotals {
  double objective = 0;  ///< sum of the whitened squared errors of all points, unscaled
  std::int64_t moved = 0;
};

/// The codes of the points of one rank. Sums are integers, so a point that changes its cluster is subtracted
/// here and added there without an error that grows: an iteration touches only the points that move.
class Clusters {
 public:
  /// `largest_norm2` is that of all ranks' points.
  Clusters(const KmeansInput& input, const TiledBlocks& points, double largest_norm2, std::int64_t k,
           int threads);

  /// E-step with the given codebook. Collective; one sum of k (d + 1) + 2 integers. Afterwards counts and
  /// means are those of all ranks' points, codes and errors of this rank's.
  AssignmentTotals assign(const CodewordTable& table, const Communicator& communicator);

  [[nodiscard]] std::int64_t count(std::int64_t code) const;
  /// Takes a block out of its cluster's count and mean until the next E-step.
  void release(std::int64_t block, std::int64_t code);
  /// The mean of the members, in the space of the blocks. The cluster must have members.
  void mean(std::int64_t code, std::span<float> out) const;
  [[nodiscard]] std::span<const std::int32_t> codes() const { return codes_; }
  [[nodiscard]] std::span<const float> errors() const { return errors_; }

 private:
  struct Worker {
    std::vector<std::int64_t> sums;  ///< k rows of d coordinates and a count, over this worker's points
    std::int64_t objective = 0;
    std::int64_t moved = 0;
  };
  void assign_share(const CodewordTable& table, const FixedPoint& error_scale, Communicator::Range groups,
                    Worker& worker);
  void move(std::int64_t point, std::int32_t to, Worker& worker);

  const KmeansInput& input_;
  const TiledBlocks& points_;
  double largest_norm2_;
  std::int64_t k_;
  FixedPoint coordinate_scale_;
  std::vector<Worker> workers_;
  std::vector<std::int64_t> totals_;  ///< over all ranks: as Worker::sums, then objective and moved
  std::vector<std::int32_t> codes_;   ///< -1 before the first E-step
  std::vector<float> errors_;
};

/// The codes and errors of one rank's share of the blocks: those from `first` on.
struct Assignment {
  std::int64_t first = 0;
  std::span<const std::int32_t> codes;
  std::span<const float> errors;
};

/// A block that becomes the codeword of an empty cluster.
struct Refill {
  std::int64_t block = 0;  ///< its index among all blocks
  std::int32_t from = 0;   ///< the cluster it leaves
  std::int32_t to = 0;
};

/// A new codeword for every cluster in `empty` (ascending): the worst served blocks, different from each
/// other, ties to the lowest index. The best served block of each cluster (and its equals) is never taken, so
/// no cluster is emptied. Clusters beyond the number of badly served blocks get none. Collective; every rank
/// has the same list.
[[nodiscard]] std::vector<Refill> choose_refills(const Assignment& assignment, const BlockIdentity& identity,
                                                 std::int64_t k, std::span<const std::int64_t> empty,
                                                 const Communicator& communicator);

/// Refills the empty clusters. The chosen blocks are released from their clusters, whose means must be taken
/// afterwards. Returns how many were refilled. Collective; every rank has the same codebook afterwards.
std::int64_t refill_empty_clusters(const KmeansInput& input, const TiledBlocks& points, Clusters& clusters,
                                   std::span<float> codebook, const Communicator& communicator);

}  // namespace bitfall
