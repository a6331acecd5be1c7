#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <set>
#include <span>
#include <unordered_set>
#include <vector>

#include "bitfall/errors.hpp"
#include "quantization/kmeans_update.hpp"

namespace bitfall {
namespace {

/// A block and its error under the codebook it was assigned with.
struct Served {
  double error = std::numeric_limits<double>::infinity();
  std::int64_t block = -1;
  std::int64_t code = -1;
};

struct WorseFirst {
  bool operator()(const Served& a, const Served& b) const {
    return a.error != b.error ? a.error > b.error : a.block < b.block;
  }
};

Served served(const TiledBlocks& points, const Clusters& clusters, std::size_t i) {
  return {static_cast<double>(clusters.errors()[i]), points.first + static_cast<std::int64_t>(i),
          clusters.codes()[i]};
}

/// The best served block of each cluster, ties to the lowest index; block -1 for an empty one.
std::vector<Served> best_served(const TiledBlocks& points, const Clusters& clusters, std::size_t k,
                                const Communicator& communicator) {
  BITFALL_ASSERT(k > 0, "a codebook has codewords");
  std::vector<Served> best(k);
  for (std::size_t i = 0; i < clusters.codes().size(); ++i) {
    const Served block = served(points, clusters, i);
    Served& own = best[static_cast<std::size_t>(block.code)];
    if (block.error < own.error) own = block;
  }
  // Each rank gave k entries; ranks hold ascending indices, so a strict comparison keeps the lowest.
  const std::vector<Served> all = communicator.all_gather(std::span<const Served>(best));
  std::fill(best.begin(), best.end(), Served{});
  for (std::size_t i = 0; i < all.size(); ++i)
    if (all[i].error < best[i % k].error) best[i % k] = all[i];
  return best;
}

/// This rank's `wanted` worst served blocks that may be taken, no two equal. Equal blocks have equal errors
/// (the kernel treats all lanes alike), and the one with the lowest index is kept.
std::vector<Served> worst_served(const KmeansInput& input, const TiledBlocks& points,
                                 const Clusters& clusters, const std::vector<Served>& kept,
                                 std::size_t wanted) {
  const BlockIdentity equal(input.blocks, input.d);
  std::set<Served, WorseFirst> worst;
  for (std::size_t i = 0; i < clusters.codes().size(); ++i) {
    const Served candidate = served(points, clusters, i);
    const Served& keep = kept[static_cast<std::size_t>(candidate.code)];
    if (!(candidate.error > 0)) continue;
    if (worst.size() == wanted && !(candidate.error > worst.rbegin()->error)) continue;
    if (candidate.error == keep.error && equal(candidate.block, keep.block)) continue;
    const auto twins = worst.lower_bound({candidate.error, -1, -1});
    const bool known = std::any_of(twins, worst.upper_bound(candidate),
                                   [&](const Served& other) { return equal(candidate.block, other.block); });
    if (known) continue;
    worst.insert(candidate);
    if (worst.size() > wanted) worst.erase(std::prev(worst.end()));
  }
  return {worst.begin(), worst.end()};
}

}  // namespace

std::int64_t refill_empty_clusters(const KmeansInput& input, const TiledBlocks& points, Clusters& clusters,
                                   std::span<float> codebook, const Communicator& communicator) {
  const auto d = static_cast<std::size_t>(input.d);
  const std::size_t k = codebook.size() / d;
  std::vector<std::size_t> empty;
  for (std::size_t code = 0; code < k; ++code)
    if (clusters.count(static_cast<std::int64_t>(code)) == 0) empty.push_back(code);
  if (empty.empty()) return 0;

  const std::vector<Served> kept = best_served(points, clusters, k, communicator);
  const std::vector<Served> own = worst_served(input, points, clusters, kept, empty.size());
  std::vector<Served> all = communicator.all_gather(std::span<const Served>(own));
  std::sort(all.begin(), all.end(), WorseFirst());
  const BlockIdentity identity(input.blocks, input.d);
  std::unordered_set<std::int64_t, BlockIdentity, BlockIdentity> taken(16, identity, identity);
  std::size_t refilled = 0;
  for (const Served& worst : all) {
    if (refilled == empty.size()) break;
    if (!taken.insert(worst.block).second) continue;
    clusters.release(worst.block, worst.code);
    const std::span<const float> block = input.block(worst.block);
    std::copy(block.begin(), block.end(),
              codebook.begin() + static_cast<std::ptrdiff_t>(empty[refilled] * d));
    ++refilled;
  }
  return static_cast<std::int64_t>(refilled);
}

}  // namespace bitfall
