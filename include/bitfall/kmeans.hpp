#pragma once
/// k-means over the blocks of one layer, shared by all ranks and threads, with the same result on any number
/// of them.
#include <cstdint>
#include <span>
#include <vector>

#include "bitfall/codebook.hpp"
#include "bitfall/communicator.hpp"
#include "bitfall/metric.hpp"

namespace bitfall {

class Backend;

struct KmeansParameters {
  std::int64_t k = 256;  ///< codewords; lowered to the number of distinct blocks when there are fewer
  std::int64_t iterations = 100;  ///< upper bound; stops earlier when no code moves (paper: 100)
  std::uint64_t seed = 0;
  std::uint64_t stream = 0;  ///< distinguishes the layers under one seed (Philox key)
  int threads = 1;           ///< threads of this rank
  /// Noise on the blocks before each update, in standard deviations of their values, dying away over
  /// `iterations` (src/quantization/annealing.hpp); 0: none.
  double anneal = 0;
  /// Greedy k-means++ (2 + ln k candidates a draw) when n * k is at most this, plain k-means++ above.
  std::int64_t greedy_limit = std::int64_t{1} << 24;
  const Backend* backend =
      nullptr;  ///< what E-steps and sums run on; nullptr: the CPU. Results don't depend on it.
  CodebookType codebook_type = CodebookType::fp16;  ///< what the codebook is rounded to
  /// What a bit costs, in units of the objective: codes are then chosen by error + price * length, the length
  /// being that of an ideal entropy coder (Chou, Lookabaugh and Gray, 1989), and codewords that do not earn
  /// what they cost are dropped, so that k shrinks. 0: error alone.
  double bit_price = 0;
  double codeword_bits = 0;  ///< with a price: what a codeword costs (its values, its place in a table)
};

/// What happened in one iteration.
struct KmeansIteration {
  /// What is minimised: the sum over blocks of the weighed squared error of this iteration's codes, plus
  /// what their bits cost where bits have a price.
  double objective = 0;
  std::int64_t moved = 0;     ///< blocks whose code changed
  std::int64_t refilled = 0;  ///< empty codewords that were refilled
  double seconds = 0;
  double bits_cost = 0;  ///< the part of the objective that is not error; not stored in archives
  [[nodiscard]] double error() const { return objective - bits_cost; }
};

struct KmeansResult {
  std::int64_t k = 0;  ///< codewords really used: min(k, distinct blocks), fewer where bits have a price
  std::vector<std::uint16_t> codebook;      ///< k x d, as QuantizedLayer::codebook
  float codebook_scale = 0;                 ///< as QuantizedLayer::codebook_scale
  std::vector<std::uint16_t> codes;         ///< n
  std::vector<KmeansIteration> iterations;  ///< the last one is the E-step on the rounded codebook
};

/// Clusters `blocks` (n x d, row major, the same on every rank) under `whitening`.
/// Collective: every rank calls it with the same arguments and gets the same result.
/// E-step: argmin_c |c'|^2/2 - <v', c'> with v' = L^T v, a chain of fused multiply-adds in index order, ties
/// to the lowest index. M-step: plain mean of the members in the unwhitened space (the minimiser for any
/// metric with one G), from 64-bit integer sums. Empty codewords are refilled at once with the worst served
/// blocks (with a price of bits they are dropped instead). Codebooks are rounded to their type before the
/// last E-step. Throws DataError on NaN/infinity or when a codeword does not fit fp16.
[[nodiscard]] KmeansResult kmeans(std::span<const float> blocks, std::int64_t d, const Whitening& whitening,
                                  const KmeansParameters& parameters, const Communicator& communicator);

}  // namespace bitfall
