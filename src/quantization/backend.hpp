#pragma once
/// Where the CPU and the GPU meet: the work on all blocks of a layer. What decides (scales, means, refills)
/// is done once, on the host, for both, and both give the same bits.
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bitfall/communicator.hpp"
#include "bitfall/exact_sum.hpp"
#include "quantization/estep.hpp"
#include "quantization/kmeans_blocks.hpp"

namespace bitfall {

/// The points of one rank, in the memory of whatever works on them, with their codes.
class ClusterWork {
 public:
  virtual ~ClusterWork() = default;
  /// E-step with the whitened codebook of `table`, then the sums of all ranks' points (collective):
  /// `totals` gets k rows of d sums of coordinates and a count, the sum of the errors as `error_scale` rounds
  /// them, and the number of points whose code changed.
  virtual void assign(const CodewordTable& table, const FixedPoint& error_scale,
                      std::span<std::int64_t> totals, const Communicator& communicator) = 0;
  /// Of the last E-step, this rank's points; valid until the next one.
  [[nodiscard]] virtual std::span<const std::int32_t> codes() = 0;
  [[nodiscard]] virtual std::span<const float> errors() = 0;
};

/// One codebook as each of several positions sees it.
struct PositionCodebooks {
  std::span<const float> codebook;  ///< k x d, scaled as the points are
  std::function<const Whitening&(std::int64_t position)> whitening;
  std::function<std::vector<float>(std::int64_t position)> penalties;
  /// Fills the table of a position. Several threads may call it.
  void set(std::int64_t position, CodewordTable& table) const {
    std::vector<float> whitened(codebook.size());
    whitening(position).apply(codebook, whitened);
    table.set(whitened, penalties(position));
  }
};

/// The points of several positions of one rank, as many of each. Every position has a whitened codebook of
/// its own.
class PositionWork {
 public:
  virtual ~PositionWork() = default;
  /// The codes and errors of point r of position i, at [i * rows + r]; before, `codes` holds those of the
  /// call before. Not collective.
  virtual void assign(const PositionCodebooks& codebooks, std::span<std::int32_t> codes,
                      std::span<float> errors) = 0;
};

/// What a rank computes on. `input` and `points` given to it outlive what it returns.
class Backend {
 public:
  virtual ~Backend() = default;
  /// "cpu", or the device's name
  [[nodiscard]] virtual std::string name() const = 0;
  /// Coordinates of blocks are summed as `coordinate_scale` rounds them.
  [[nodiscard]] virtual std::unique_ptr<ClusterWork> place(const KmeansInput& input,
                                                           const TiledBlocks& points,
                                                           const FixedPoint& coordinate_scale, std::int64_t k,
                                                           int threads) const = 0;
  [[nodiscard]] virtual std::unique_ptr<PositionWork> place_positions(std::span<const TiledBlocks> positions,
                                                                      std::int64_t k, int threads) const = 0;
};

/// SIMD on this rank's threads. Leaves out what a filter proves needless (estep_filter.hpp).
[[nodiscard]] const Backend& cpu_backend();
/// The same without leaving anything out: the twin of every other back end.
[[nodiscard]] const Backend& plain_cpu_backend();

}  // namespace bitfall
