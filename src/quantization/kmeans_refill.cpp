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

Served served(const Assignment& assignment, std::size_t i) {
  return {static_cast<double>(assignment.errors[i]), assignment.first + static_cast<std::int64_t>(i),
          assignment.codes[i]};
}

/// The best served block of each cluster, ties to the lowest index; block -1 for an empty one.
std::vector<Served> best_served(const Assignment& assignment, std::size_t k,
                                const Communicator& communicator) {
  BITFALL_ASSERT(k > 0, "a codebook has codewords");
  std::vector<Served> best(k);
  for (std::size_t i = 0; i < assignment.codes.size(); ++i) {
    const Served block = served(assignment, i);
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

/// This rank's `wanted` worst served blocks that may be taken; of equal blocks with equal errors the one with
/// the lowest index.
std::vector<Served> worst_served(const Assignment& assignment, const BlockIdentity& equal,
                                 const std::vector<Served>& kept, std::size_t wanted) {
  std::set<Served, WorseFirst> worst;
  for (std::size_t i = 0; i < assignment.codes.size(); ++i) {
    const Served candidate = served(assignment, i);
    const Served& keep = kept[static_cast<std::size_t>(candidate.code)];
    if (!(candidate.error > 0) || candidate.block == keep.block) continue;
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

std::vector<Refill> choose_refills(const Assignment& assignment, const BlockIdentity& identity,
                                   std::int64_t k, std::span<const std::int64_t> empty,
                                   const Communicator& communicator) {
  if (empty.empty()) return {};
  const std::vector<Served> kept = best_served(assignment, static_cast<std::size_t>(k), communicator);
  const std::vector<Served> own = worst_served(assignment, identity, kept, empty.size());
  std::vector<Served> all = communicator.all_gather(std::span<const Served>(own));
  std::sort(all.begin(), all.end(), WorseFirst());
  std::unordered_set<std::int64_t, BlockIdentity, BlockIdentity> taken(16, identity, identity);
  std::vector<Refill> refills;
  for (const Served& worst : all) {
    if (refills.size() == empty.size()) break;
    if (!taken.insert(worst.block).second) continue;
    refills.push_back({worst.block, static_cast<std::int32_t>(worst.code),
                       static_cast<std::int32_t>(empty[refills.size()])});
  }
  return refills;
}

std::int64_t refill_empty_clusters(const KmeansInput& input, const TiledBlocks& points, Clusters& clusters,
                                   std::span<float> codebook, const Communicator& communicator) {
  const std::int64_t k = static_cast<std::int64_t>(codebook.size()) / input.d;
  std::vector<std::int64_t> empty;
  for (std::int64_t code = 0; code < k; ++code)
    if (clusters.count(code) == 0) empty.push_back(code);
  if (empty.empty()) return 0;
  const std::vector<Refill> refills =
      choose_refills({points.first, clusters.codes(), clusters.errors()},
                     BlockIdentity(input.blocks, input.d), k, empty, communicator);
  for (const Refill& refill : refills) {
    clusters.release(refill.block, refill.from);
    const std::span<const float> block = input.block(refill.block);
    std::copy(block.begin(), block.end(),
              codebook.begin() + static_cast<std::ptrdiff_t>(refill.to * input.d));
  }
  return static_cast<std::int64_t>(refills.size());
}

}  // namespace bitfall
