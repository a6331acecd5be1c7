#pragma once
/// k-means in which every position of a row has a metric of its own.
#include <cstdint>
#include <span>
#include <vector>

#include "bitfall/kmeans.hpp"
#include "quantization/annealing.hpp"
#include "quantization/code_rate.hpp"
#include "quantization/position_metrics.hpp"
#include "quantization/problem.hpp"

namespace bitfall {

/// Blocks with the positions outermost: block (j, r) is entry j * rows + r. A rank's share is a contiguous
/// range of positions, so that everything about one position is summed on one rank, in the order of rows.
struct PositionBlocks {
  std::vector<float> values;
  std::int64_t rows = 0, d = 0;

  explicit PositionBlocks(const WeightBlocks& weight);
  [[nodiscard]] std::int64_t positions() const {
    return static_cast<std::int64_t>(values.size()) / (rows * d);
  }
};

/// Minimises sum over blocks of w_r (v - c)^T G_j (v - c), plus the price of the codes, from `codebook`
/// (k x d) on, at most `iterations` times. `codes` are in the order of the weight (r * m + j), complete on
/// every rank (collective). Row weights and a price exclude each other.
struct BlockwiseState {
  std::vector<float> codebook;
  std::vector<std::int32_t> codes;
};
[[nodiscard]] std::vector<KmeansIteration> blockwise_kmeans(const Problem& problem,
                                                            const PositionMetrics& metrics,
                                                            std::int64_t iterations,
                                                            const Annealing& annealing, BlockwiseState& state,
                                                            CodeRate& rate);

/// One E-step with the codebook as it is: codes and objective.
[[nodiscard]] KmeansIteration blockwise_assign(const Problem& problem, const PositionMetrics& metrics,
                                               BlockwiseState& state, CodeRate& rate);

}  // namespace bitfall
