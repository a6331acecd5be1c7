#include "quantization/init.hpp"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <unordered_set>
#include <vector>

#include "bitfall/errors.hpp"
#include "bitfall/exact_sum.hpp"
#include "bitfall/random.hpp"
#include "parallel/threads.hpp"
#include "quantization/init_distance.hpp"

namespace bitfall {
namespace {

class PlusPlus {
 public:
  PlusPlus(const KmeansInput& input, const TiledBlocks& points, const InitParameters& parameters,
           const Communicator& communicator)
      : input_(input),
        points_(points),
        parameters_(parameters),
        communicator_(communicator),
        // |v - c|^2 <= 4 max |v|^2, and a little for the rounding of the chain.
        scale_(distance_scale(4.1 * communicator.max(points.largest_norm2), input.count())),
        distances_(static_cast<std::size_t>(points.groups() * group_points), 0.0f),
        group_sums_(static_cast<std::size_t>(points.groups()), 0),
        rank_totals_(static_cast<std::size_t>(communicator.size()), 0),
        chosen_(16, BlockIdentity(input.blocks, input.d), BlockIdentity(input.blocks, input.d)) {
    std::fill_n(distances_.begin(), points.count, FLT_MAX);
  }

  std::vector<std::int64_t> run() {
    const auto count = static_cast<std::uint64_t>(input_.count());
    take(static_cast<std::int64_t>(random_below(parameters_.seed, parameters_.stream, 0, count)));
    share_totals();
    while (static_cast<std::int64_t>(order_.size()) < parameters_.k) {
      const std::int64_t total = std::accumulate(rank_totals_.begin(), rank_totals_.end(), std::int64_t{0});
      if (total == 0) {
        take(first_new_block());  // no distance grows: the totals stay zero
        continue;
      }
      const std::vector<std::int64_t> candidates = draw(static_cast<std::uint64_t>(total));
      if (candidates.size() == 1) {
        take(candidates.front());
        share_totals();
      } else {
        take_best(candidates);
      }
    }
    return order_;
  }

 private:
  /// Runs `pass(first group, groups, thread)` over this rank's groups.
  template <class Pass>
  void for_each_share(std::int64_t candidates, const Pass& pass) const {
    const std::int64_t work = points_.groups() * group_points * points_.d * candidates;
    const int threads = useful_threads(work, parameters_.threads);
    parallel_for(threads, threads, [&](std::int64_t thread) {
      const auto share = Communicator::share(points_.groups(), static_cast<int>(thread), threads);
      pass(share.first, share.size(), static_cast<std::size_t>(thread));
    });
  }

  /// Makes the block a codeword and lowers the distances. Not collective.
  void take(std::int64_t block) {
    order_.push_back(block);
    chosen_.insert(block);
    std::vector<float> codeword(static_cast<std::size_t>(input_.d));
    input_.whiten(input_.block(block), codeword);
    for_each_share(1, [&](std::int64_t first, std::int64_t groups, std::size_t) {
      update_distances(points_.group(first), groups, points_.d, codeword.data(), scale_,
                       distances_.data() + first * group_points, group_sums_.data() + first);
    });
  }

  /// Every rank learns the sum of distances of each rank.
  void share_totals() {
    std::fill(rank_totals_.begin(), rank_totals_.end(), 0);
    own(rank_totals_) = std::accumulate(group_sums_.begin(), group_sums_.end(), std::int64_t{0});
    communicator_.sum(rank_totals_);
  }

  std::int64_t& own(std::vector<std::int64_t>& per_rank, std::size_t row = 0) const {
    return per_rank[row * static_cast<std::size_t>(communicator_.size()) +
                    static_cast<std::size_t>(communicator_.rank())];
  }

  /// Blocks drawn with probability distance / total; the rank that has the block tells the others.
  std::vector<std::int64_t> draw(std::uint64_t total) const {
    std::vector<std::int64_t> blocks(static_cast<std::size_t>(parameters_.candidates), 0);
    const auto rank_first = rank_totals_.begin();
    const std::int64_t before =
        std::accumulate(rank_first, rank_first + communicator_.rank(), std::int64_t{0});
    const std::int64_t own_total = rank_totals_[static_cast<std::size_t>(communicator_.rank())];
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      // Draw i for codeword c has index 64 c + i: at most 64 candidates, and index 0 is the first block's.
      const std::uint64_t index = 64 * static_cast<std::uint64_t>(order_.size()) + i;
      const auto position =
          static_cast<std::int64_t>(random_below(parameters_.seed, parameters_.stream, index, total));
      if (position >= before && position < before + own_total) blocks[i] = find(position - before);
    }
    communicator_.sum(blocks);
    return blocks;
  }

  /// The block in whose interval of the running sum of this rank's distances `position` falls.
  std::int64_t find(std::int64_t position) const {
    std::size_t group = 0;
    while (position >= group_sums_[group]) position -= group_sums_[group++];
    auto point = static_cast<std::int64_t>(group) * group_points;
    for (;; ++point) {
      position -= scale_.to_integer(static_cast<double>(distances_[static_cast<std::size_t>(point)]));
      if (position < 0) return points_.first + point;
    }
  }

  /// Takes the candidate that leaves the smallest sum of distances.
  void take_best(const std::vector<std::int64_t>& blocks) {
    const std::size_t count = blocks.size();
    const auto d = static_cast<std::size_t>(input_.d);
    std::vector<float> candidates(count * d);
    for (std::size_t i = 0; i < count; ++i)
      input_.whiten(input_.block(blocks[i]), std::span(candidates).subspan(i * d, d));
    std::vector<std::int64_t> partial(static_cast<std::size_t>(parameters_.threads) * count, 0);
    for_each_share(static_cast<std::int64_t>(count),
                   [&](std::int64_t first, std::int64_t groups, std::size_t thread) {
                     add_candidate_sums(points_.group(first), groups, points_.d, candidates.data(), scale_,
                                        distances_.data() + first * group_points,
                                        std::span(partial).subspan(thread * count, count));
                   });
    const auto ranks = static_cast<std::ptrdiff_t>(communicator_.size());
    std::vector<std::int64_t> per_rank(count * static_cast<std::size_t>(ranks), 0);
    for (std::size_t i = 0; i < partial.size(); ++i) own(per_rank, i % count) += partial[i];
    communicator_.sum(per_rank);
    std::ptrdiff_t best = 0;
    std::int64_t best_total = 0;
    for (std::ptrdiff_t i = 0; i < static_cast<std::ptrdiff_t>(count); ++i) {
      const auto row = per_rank.begin() + i * ranks;
      const std::int64_t total = std::accumulate(row, row + ranks, std::int64_t{0});
      if (i == 0 || total < best_total) {
        best = i;
        best_total = total;
      }
    }
    take(blocks[static_cast<std::size_t>(best)]);
    std::copy_n(per_rank.begin() + best * ranks, ranks, rank_totals_.begin());
  }

  /// The lowest block that differs from all chosen ones. Those passed over stay equal to a chosen one.
  std::int64_t first_new_block() {
    while (chosen_.contains(next_new_)) ++next_new_;
    BITFALL_ASSERT(next_new_ < input_.count(), "more codewords than distinct blocks");
    return next_new_;
  }

  const KmeansInput& input_;
  const TiledBlocks& points_;
  const InitParameters& parameters_;
  const Communicator& communicator_;
  FixedPoint scale_;
  AlignedVector<float> distances_;        ///< of this rank's points to the nearest codeword
  std::vector<std::int64_t> group_sums_;  ///< of this rank's groups
  std::vector<std::int64_t> rank_totals_;
  std::vector<std::int64_t> order_;
  std::unordered_set<std::int64_t, BlockIdentity, BlockIdentity> chosen_;
  std::int64_t next_new_ = 0;
};

}  // namespace

int greedy_candidates(std::int64_t k) {
  return 2 + static_cast<int>(std::log(static_cast<double>(k)));
}

std::vector<std::int64_t> choose_initial_blocks(const KmeansInput& input, const TiledBlocks& points,
                                                const InitParameters& parameters,
                                                const Communicator& communicator) {
  BITFALL_ASSERT(parameters.candidates >= 1 && parameters.candidates <= 64, "candidates of k-means++");
  return PlusPlus(input, points, parameters, communicator).run();
}

}  // namespace bitfall
