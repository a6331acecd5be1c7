#include "quantization/kmeans_blockwise.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>

#include "bitfall/errors.hpp"
#include "bitfall/exact_sum.hpp"
#include "parallel/threads.hpp"
#include "quantization/backend.hpp"
#include "quantization/blockwise_update.hpp"
#include "quantization/estep.hpp"
#include "quantization/kmeans_update.hpp"
#include "quantization/stopwatch.hpp"

namespace bitfall {
namespace {

/// This rank's positions, whitened, and their codes.
class BlockwiseClusters {
 public:
  BlockwiseClusters(const Problem& problem, const PositionBlocks& blocks, const PositionMetrics& metrics,
                    std::int64_t k, CodeRate& rate)
      : blocks_(blocks),
        metrics_(metrics),
        rate_(rate),
        row_weights_(problem.row_weights),
        k_(k),
        threads_(useful_threads(static_cast<std::int64_t>(blocks.values.size()) * k, problem.threads)),
        communicator_(problem.communicator),
        share_(communicator_.share(blocks.positions())),
        scale_(measure_blocks(blocks.values, blocks.d)),
        update_({blocks, scale_.largest, metrics, problem.row_weights, share_}, k, threads_) {
    const auto count = static_cast<std::size_t>(share_.size() * blocks.rows);
    codes_.assign(count, -1);
    errors_.assign(count, 0.0f);
    new_codes_.resize(count);
    objectives_.assign(static_cast<std::size_t>(share_.size()), 0.0);
    points_.resize(static_cast<std::size_t>(share_.size()));
    parallel_for(share_.size(), threads_, [&](std::int64_t i) {
      points_[static_cast<std::size_t>(i)] =
          tile_blocks(input(share_.first + i), (share_.first + i) * blocks.rows, blocks.rows, 1);
    });
    work_ = problem.backend.place_positions(points_, k, threads_);
  }

  /// E-step: the nearest codeword of each block under its position's metric. Errors are weighed ones.
  KmeansIteration assign(std::span<const float> codebook) {
    const std::vector<float> scaled = scale_blocks(codebook, scale_);
    const PositionCodebooks codebooks{
        scaled, [&](std::int64_t i) -> const Whitening& { return metrics_.whitening(share_.first + i); },
        [&](std::int64_t i) { return rate_.penalties(error_unit(share_.first + i)); }};
    work_->assign(codebooks, new_codes_, errors_);
    std::vector<std::int64_t> moved(static_cast<std::size_t>(threads_), 0);
    parallel_for_workers(share_.size(), threads_, [&](std::int64_t i, int worker) {
      moved[static_cast<std::size_t>(worker)] += weigh_position(i);
    });
    KmeansIteration iteration;
    for (const std::int64_t count : moved) iteration.moved += count;
    double largest = 0;
    for (const double objective : objectives_) largest = std::max(largest, objective);
    const FixedPoint scale = FixedPoint::for_sum(communicator_.max(largest), blocks_.positions());
    std::vector<std::int64_t> sums{iteration.moved, 0};
    for (const double objective : objectives_) sums[1] += scale.to_integer(objective);
    communicator_.sum(sums);
    iteration.moved = sums[0];
    if (rate_.active()) rate_.update(counts());
    iteration.bits_cost = rate_.cost();
    iteration.objective =
        std::ldexp(scale.to_double(sums[1]) * metrics_.unit(), -2 * scale_.exponent) + iteration.bits_cost;
    return iteration;
  }

  /// Drops codewords that do not earn their price under the codebook as it is. Returns how many.
  std::int64_t drop(std::span<const float> codebook) {
    std::vector<Alternative> own(codes_.size());
    const auto rows = static_cast<std::size_t>(blocks_.rows);
    parallel_for(share_.size(), threads_, [&](std::int64_t i) {
      std::vector<float> whitened(codebook.size());
      input(share_.first + i).whiten(codebook, whitened);
      const double unit = error_unit(share_.first + i);
      const auto first = static_cast<std::size_t>(i) * rows;
      const auto found =
          find_alternatives(points_[static_cast<std::size_t>(i)], whitened, rate_.penalties(unit), unit,
                            std::span<const std::int32_t>(codes_).subspan(first, rows), 1);
      std::copy(found.begin(), found.end(), own.begin() + static_cast<std::ptrdiff_t>(first));
    });
    return rate_.drop(communicator_.all_gather(std::span<const Alternative>(own)));
  }

  /// Gives empty clusters the worst served blocks, which become their members. Returns how many.
  std::int64_t refill(std::span<float> codebook) {
    const std::vector<std::int64_t> members = counts();
    std::vector<std::int64_t> empty;
    for (std::int64_t code = 0; code < k_; ++code)
      if (members[static_cast<std::size_t>(code)] == 0) empty.push_back(code);
    const std::int64_t first = share_.first * blocks_.rows;
    const auto refills = choose_refills({first, codes_, errors_}, BlockIdentity(blocks_.values, blocks_.d),
                                        k_, empty, communicator_);
    for (const Refill& refill : refills) {
      const auto block = blocks_.values.begin() + refill.block * blocks_.d;
      std::copy(block, block + blocks_.d, codebook.begin() + refill.to * blocks_.d);
      const std::int64_t local = refill.block - first;
      if (local >= 0 && local < static_cast<std::int64_t>(codes_.size()))
        codes_[static_cast<std::size_t>(local)] = refill.to;
    }
    return static_cast<std::int64_t>(refills.size());
  }

  /// Members of each codeword on all ranks (collective).
  [[nodiscard]] std::vector<std::int64_t> counts() const {
    std::vector<std::int64_t> counts(static_cast<std::size_t>(k_), 0);
    for (const std::int32_t code : codes_) ++counts[static_cast<std::size_t>(code)];
    communicator_.sum(counts);
    return counts;
  }

  void update(std::span<float> codebook) { update_.update(codes_, codebook, communicator_); }

  /// The codes of all ranks in the order of the weight.
  [[nodiscard]] std::vector<std::int32_t> all_codes() const {
    const auto all = communicator_.all_gather(std::span<const std::int32_t>(codes_));
    std::vector<std::int32_t> ordered(all.size());
    const std::int64_t rows = blocks_.rows, m = blocks_.positions();
    for (std::int64_t j = 0; j < m; ++j)
      for (std::int64_t r = 0; r < rows; ++r)
        ordered[static_cast<std::size_t>(r * m + j)] = all[static_cast<std::size_t>(j * rows + r)];
    return ordered;
  }

 private:
  [[nodiscard]] KmeansInput input(std::int64_t position) const {
    return {blocks_.values, blocks_.d, metrics_.whitening(position), scale_};
  }

  /// What a squared error of a position's whitened, scaled blocks is in units of the objective.
  [[nodiscard]] double error_unit(std::int64_t position) const {
    return rate_.safe_unit(std::ldexp(metrics_.weight(position) * metrics_.unit(), -2 * scale_.exponent));
  }

  /// Weighs the errors of a position and takes its new codes. Returns how many have changed.
  std::int64_t weigh_position(std::int64_t i) {
    const double weight = metrics_.weight(share_.first + i);
    std::int64_t moved = 0;
    double objective = 0;
    const auto first = static_cast<std::size_t>(i * blocks_.rows);
    for (std::size_t r = 0; r < static_cast<std::size_t>(blocks_.rows); ++r) {
      const double error = weight * row_weight_unit * static_cast<double>(row_weights_[r]) *
                           static_cast<double>(errors_[first + r]);
      objective += error;
      errors_[first + r] = static_cast<float>(error);
      if (new_codes_[first + r] != codes_[first + r]) ++moved;
      codes_[first + r] = new_codes_[first + r];
    }
    objectives_[static_cast<std::size_t>(i)] = objective;
    return moved;
  }

  const PositionBlocks& blocks_;
  const PositionMetrics& metrics_;
  CodeRate& rate_;
  std::span<const std::int64_t> row_weights_;
  std::int64_t k_;
  int threads_;
  const Communicator& communicator_;
  Communicator::Range share_;
  BlockScale scale_;
  BlockwiseUpdate update_;
  std::vector<TiledBlocks> points_;  ///< by local position
  std::unique_ptr<PositionWork> work_;
  std::vector<std::int32_t> codes_, new_codes_;  ///< local position outermost
  std::vector<float> errors_;
  std::vector<double> objectives_;  ///< by local position
};

}  // namespace

PositionBlocks::PositionBlocks(const WeightBlocks& weight)
    : values(weight.values.size()), rows(weight.rows), d(weight.d) {
  const std::int64_t m = weight.positions();
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t j = 0; j < m; ++j)
      std::copy_n(weight.values.begin() + (r * m + j) * d, d, values.begin() + (j * rows + r) * d);
}

std::vector<std::int64_t> integer_row_weights(std::span<const double> weights, std::int64_t rows) {
  std::vector<std::int64_t> integers(static_cast<std::size_t>(rows), std::llrint(1 / row_weight_unit));
  double sum = 0;
  for (const double weight : weights) sum += weight;
  if (weights.empty() || !(sum > 0)) return integers;
  BITFALL_ASSERT(static_cast<std::int64_t>(weights.size()) == rows, "a weight for each row");
  const double mean = sum / static_cast<double>(rows);
  for (std::size_t r = 0; r < integers.size(); ++r)
    integers[r] = std::max<std::int64_t>(1, std::llrint(weights[r] / mean / row_weight_unit));
  return integers;
}

std::vector<KmeansIteration> blockwise_kmeans(const Problem& problem, const PositionMetrics& metrics,
                                              std::int64_t iterations, const Annealing& annealing,
                                              BlockwiseState& state, CodeRate& rate) {
  const PositionBlocks blocks(problem.weight);
  const std::int64_t k = static_cast<std::int64_t>(state.codebook.size()) / blocks.d;
  BlockwiseClusters clusters(problem, blocks, metrics, k, rate);
  std::vector<KmeansIteration> history;
  Stopwatch watch;
  for (std::int64_t i = 0; i < iterations; ++i) {
    KmeansIteration iteration = clusters.assign(state.codebook);
    if (iteration.moved > 0 || annealing.is_on()) {
      if (!rate.active()) iteration.refilled = clusters.refill(state.codebook);
      clusters.update(state.codebook);
      if (annealing.is_on()) annealing.disturb(i + 1, clusters.counts(), state.codebook);
    }
    const std::int64_t dropped = rate.is_time_to_drop(i, iteration.moved) ? clusters.drop(state.codebook) : 0;
    iteration.seconds = watch.lap();
    history.push_back(iteration);
    if (iteration.moved == 0 && dropped == 0 && !annealing.is_on()) break;
  }
  state.codes = clusters.all_codes();
  return history;
}

KmeansIteration blockwise_assign(const Problem& problem, const PositionMetrics& metrics,
                                 BlockwiseState& state, CodeRate& rate) {
  const PositionBlocks blocks(problem.weight);
  const std::int64_t k = static_cast<std::int64_t>(state.codebook.size()) / blocks.d;
  Stopwatch watch;
  BlockwiseClusters clusters(problem, blocks, metrics, k, rate);
  KmeansIteration iteration = clusters.assign(state.codebook);
  state.codes = clusters.all_codes();
  iteration.seconds = watch.lap();
  return iteration;
}

}  // namespace bitfall
