#pragma once
/// A layer's weight under any metric: k-means, and for the finer metrics what improves on it.
#include <cstdint>
#include <span>
#include <vector>

#include "bitfall/communicator.hpp"
#include "bitfall/kmeans.hpp"
#include "bitfall/metric.hpp"

namespace bitfall {

/// What is known about a layer's inputs and outputs. Each metric needs those up to its own line.
struct LayerMoments {
  std::vector<double> pooled;        ///< activation: sum_j G_j, d x d
  std::vector<double> per_position;  ///< blockwise: G_1 ... G_m, m x d x d
  std::vector<double> full;  ///< full: lower triangle of H (D x D), entry (a, b <= a) at a (a + 1) / 2 + b
  /// full: B = sum y x^T (rows x D), y the outputs that are wanted for the inputs x; empty: those of the
  /// weight itself. The sum is over the same x as H.
  std::vector<double> wanted_outputs;
  /// How much the error of each row (output channel) counts; empty: all alike. Codebooks alone depend on it,
  /// not the choice of a code under a given codebook.
  std::vector<double> row_weights;
};

/// A weight as `rows` rows of m = columns / d blocks.
struct WeightBlocks {
  std::span<const float> values;  ///< C order
  std::int64_t rows = 0, d = 0;
  [[nodiscard]] std::int64_t columns() const { return static_cast<std::int64_t>(values.size()) / rows; }
  [[nodiscard]] std::int64_t positions() const { return columns() / d; }
};

struct QuantizerParameters {
  KmeansParameters kmeans;
  std::int64_t start_iterations = 10;      ///< blockwise and full: of k-means with the pooled matrix first
  std::int64_t blockwise_iterations = 30;  ///< full: of blockwise k-means before the sweeps
  std::int64_t sweeps = 3;                 ///< full: codebook, then all codes
  std::int64_t target_iterations = 6;      ///< with wanted_outputs: of conjugate gradients for the target
  std::int64_t restarts = 1;  ///< so many starts, of which the one with the least final objective is kept
  double damping = 1e-2;      ///< full: H + damping * trace(H) / D * I
  /// What a bit of codes or codebook costs, as a part of the energy of the layer (see QuantizedBlocks):
  /// error / energy + price * bits is minimised. 0: error alone. Sets kmeans.bit_price; kmeans.codeword_bits
  /// is the caller's. Row weights and a price exclude each other.
  double relative_bit_price = 0;
};

struct QuantizedBlocks {
  KmeansResult kmeans;
  double energy = 0;  ///< the error of a weight quantized to zero: what errors are relative to
  /// The error of the result, without the price of bits, relative to the energy.
  [[nodiscard]] double relative_error() const {
    return energy > 0 ? kmeans.iterations.back().error() / energy : 0;
  }
};

/// Quantizes under `metric`. Collective; every rank has the same arguments and gets the same result, which
/// does not depend on the numbers of ranks and threads.
/// - euclidean, activation: kmeans().
/// - blockwise: E-step argmin_c (v - c)^T G_j (v - c); M-step (sum_j n_jc G_j) c = sum_j G_j sum v.
/// - full: from the blockwise result, sweeps of a least-squares codebook (preconditioned conjugate gradients)
///   and of block coordinate descent on the codes, minimising sum_r e_r^T H e_r.
[[nodiscard]] QuantizedBlocks quantize_blocks(const WeightBlocks& weight, Metric metric,
                                              const LayerMoments& moments,
                                              const QuantizerParameters& parameters,
                                              const Communicator& communicator);

struct Reassignment {
  std::vector<std::uint16_t> codes;  ///< the new ones where the objective fell, else the given ones
  double before = 0, after = 0;      ///< objective of the given codes and of the best ones found
  [[nodiscard]] bool is_kept() const { return after < before; }
};

/// New codes under a codebook (k x d) that stays as it is. euclidean, activation, blockwise: the nearest
/// codewords; full: at most `parameters.sweeps` passes of block coordinate descent from the given codes.
/// Collective, the same on every rank, as quantize_blocks.
[[nodiscard]] Reassignment reassign_codes(const WeightBlocks& weight, Metric metric,
                                          const LayerMoments& moments, std::span<const float> codebook,
                                          std::span<const std::uint16_t> codes,
                                          const QuantizerParameters& parameters,
                                          const Communicator& communicator);

}  // namespace bitfall
