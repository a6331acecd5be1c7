#pragma once
/// This rank's codes, and the integer sums over the members of every cluster.
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "bitfall/communicator.hpp"
#include "bitfall/exact_sum.hpp"
#include "quantization/backend.hpp"
#include "quantization/estep.hpp"
#include "quantization/kmeans_blocks.hpp"

namespace bitfall {

struct AssignmentTotals {
  double objective = 0;  ///< sum of the whitened squared errors of all points, unscaled
  std::int64_t moved = 0;
};

/// The clusters of all ranks' points. The back end has this rank's points and forms the sums; what follows
/// from the sums is done here.
class Clusters {
 public:
  /// `largest_norm2` is that of all ranks' points.
  Clusters(const KmeansInput& input, const TiledBlocks& points, double largest_norm2, std::int64_t k,
           int threads, const Backend& backend = cpu_backend());

  /// E-step with the given codebook. Collective; one sum of k (d + 1) + 2 integers. Afterwards counts and
  /// means are those of all ranks' points, codes and errors of this rank's.
  AssignmentTotals assign(const CodewordTable& table, const Communicator& communicator);

  [[nodiscard]] std::int64_t count(std::int64_t code) const;
  /// Takes a block out of its cluster's count and mean until the next E-step.
  void release(std::int64_t block, std::int64_t code);
  /// The mean of the members, in the space of the blocks. The cluster must have members.
  void mean(std::int64_t code, std::span<float> out) const;
  [[nodiscard]] std::span<const std::int32_t> codes() const { return work_->codes(); }
  [[nodiscard]] std::span<const float> errors() const { return work_->errors(); }

 private:
  const KmeansInput& input_;
  double largest_norm2_;
  FixedPoint coordinate_scale_;
  std::unique_ptr<ClusterWork> work_;
  std::vector<std::int64_t> totals_;  ///< as ClusterWork::assign gives them
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
