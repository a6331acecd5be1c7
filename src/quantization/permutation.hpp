#pragma once
/// Orders of channels under which blocks are easier to quantize (Martinez, Shewakramani, Liu, Bârsan, Zeng,
/// Urtasun, "Permute, Quantize, and Fine-tune", CVPR 2021, arXiv 2010.15703, section 3.2).
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "bitfall/channels.hpp"
#include "bitfall/communicator.hpp"

namespace bitfall {

/// A layer whose columns follow channels: channel c of `stream` has the columns
/// [first + c * width, first + (c + 1) * width).
struct ChannelColumns {
  std::size_t stream = 0;
  std::int64_t first = 0, width = 0;
};
struct PermutedLayer {
  std::string name;
  std::span<const float> weight;  ///< rows x columns, C order
  std::int64_t rows = 0, d = 0, k = 0;
  std::vector<ChannelColumns> runs;
  [[nodiscard]] std::int64_t columns() const { return static_cast<std::int64_t>(weight.size()) / rows; }
};

struct PermutationProblem {
  std::vector<std::int64_t> channels;  ///< of each stream; 0: its order is fixed
  std::vector<PermutedLayer> layers;
};

struct PermutationParameters {
  std::int64_t proposals = 200;  ///< swaps that are tried, for each channel of a stream
  double ridge = 1e-3;           ///< added to the covariance, relative to its mean diagonal entry
  std::uint64_t seed = 0;
  int threads = 1;
};

/// log det of a layer's block covariance before and after, divided by d: the logarithm of its mean
/// eigenvalue.
struct PermutedLayerReport {
  std::string name;
  double before = 0, after = 0;
};

struct FoundPermutation {
  ChannelOrders orders;  ///< by stream; empty: as it was
  std::vector<PermutedLayerReport> layers;
};

/// Minimises sum over layers of log det(C) / d, C the covariance of a layer's blocks: at a given rate the
/// error of a Gaussian source is det(C)^(1/d). A layer of no more than k different blocks loses nothing as it
/// is (its network was compressed before); the streams that it reads stay. Streams that meet in a layer are
/// searched one after the other, the others side by side on threads and ranks (collective). The result
/// depends on none of them.
[[nodiscard]] FoundPermutation find_permutation(const PermutationProblem& problem,
                                                const PermutationParameters& parameters,
                                                const Communicator& communicator);

}  // namespace bitfall
