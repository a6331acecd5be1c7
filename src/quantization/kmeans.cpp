#include "bitfall/kmeans.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bitfall/errors.hpp"
#include "bitfall/quantized_layer.hpp"
#include "quantization/annealing.hpp"
#include "quantization/backend.hpp"
#include "quantization/code_rate.hpp"
#include "quantization/estep.hpp"
#include "quantization/init.hpp"
#include "quantization/kmeans_blocks.hpp"
#include "quantization/kmeans_update.hpp"
#include "quantization/stopwatch.hpp"

namespace bitfall {
namespace {

/// Up to this many point-codeword-coordinate products every rank runs the whole k-means++ for itself: that
/// takes some ten milliseconds, less than two rounds of messages for every codeword.
constexpr std::int64_t shared_init_from = std::int64_t{1} << 27;

void check_arguments(std::span<const float> blocks, std::int64_t d, const Whitening& whitening,
                     const KmeansParameters& parameters) {
  BITFALL_ASSERT(d >= 1 && !blocks.empty() && blocks.size() % static_cast<std::size_t>(d) == 0,
                 std::to_string(blocks.size()) + " values in blocks of " + std::to_string(d));
  BITFALL_ASSERT(whitening.d() == d, "whitening for another d");
  BITFALL_ASSERT(parameters.k >= 1 && parameters.k <= 65536, "k = " + std::to_string(parameters.k));
  BITFALL_ASSERT(parameters.threads >= 1 && parameters.iterations >= 0, "k-means parameters");
}

/// The blocks that k-means++ chooses, k x d.
std::vector<float> initial_codebook(const KmeansInput& input, const TiledBlocks& points, std::int64_t k,
                                    const KmeansParameters& parameters, const Communicator& communicator) {
  const std::int64_t n = input.count();
  const bool greedy = n <= parameters.greedy_limit / k;
  const InitParameters init{k, parameters.seed, parameters.stream, greedy ? greedy_candidates(k) : 1,
                            parameters.threads};
  const bool alone = communicator.size() > 1 && n <= shared_init_from / (k * input.d);
  const std::vector<std::int64_t> chosen =
      alone ? choose_initial_blocks(input, tile_blocks(input, 0, n, parameters.threads), init,
                                    Communicator::self())
            : choose_initial_blocks(input, points, init, communicator);
  std::vector<float> codebook;
  for (const std::int64_t index : chosen) {
    const std::span<const float> block = input.block(index);
    codebook.insert(codebook.end(), block.begin(), block.end());
  }
  return codebook;
}

/// What a squared error of whitened, scaled blocks is in units of the objective.
double error_unit(const KmeansInput& input) {
  return std::ldexp(1.0, -2 * input.scale.exponent);
}

/// One E-step with its record. The codebook lives in the space of the blocks and is whitened each time.
KmeansIteration e_step(const KmeansInput& input, std::span<const float> codebook, CodewordTable& table,
                       Clusters& clusters, CodeRate& rate, const Communicator& communicator) {
  std::vector<float> whitened(codebook.size());
  input.whiten(codebook, whitened);
  table.set(whitened, rate.penalties(rate.safe_unit(error_unit(input))));
  const AssignmentTotals totals = clusters.assign(table, communicator);
  if (rate.active()) {
    std::vector<std::int64_t> counts;
    for (std::int64_t code = 0; code < table.k; ++code) counts.push_back(clusters.count(code));
    rate.update(counts);
  }
  return {totals.objective + rate.cost(), totals.moved, 0, 0, rate.cost()};
}

/// Drops codewords that do not earn their price under the codebook as it is. Returns how many.
std::int64_t drop_codewords(const KmeansInput& input, const TiledBlocks& points, const Clusters& clusters,
                            std::span<const float> codebook, CodeRate& rate, int threads,
                            const Communicator& communicator) {
  std::vector<float> whitened(codebook.size());
  input.whiten(codebook, whitened);
  const double unit = rate.safe_unit(error_unit(input));
  const std::vector<Alternative> own =
      find_alternatives(points, whitened, rate.penalties(unit), unit, clusters.codes(), threads);
  return rate.drop(communicator.all_gather(std::span<const Alternative>(own)));
}

/// c = mean of the members; the codeword of an empty cluster stays what its refill made it. Returns the
/// members of each.
std::vector<std::int64_t> m_step(const Clusters& clusters, std::int64_t d, std::span<float> codebook) {
  const auto k = static_cast<std::int64_t>(codebook.size()) / d;
  std::vector<std::int64_t> members;
  for (std::int64_t code = 0; code < k; ++code) {
    members.push_back(clusters.count(code));
    if (members.back() > 0)
      clusters.mean(code, codebook.subspan(static_cast<std::size_t>(code * d), static_cast<std::size_t>(d)));
  }
  return members;
}

}  // namespace

KmeansResult kmeans(std::span<const float> blocks, std::int64_t d, const Whitening& whitening,
                    const KmeansParameters& parameters, const Communicator& communicator) {
  check_arguments(blocks, d, whitening, parameters);
  const KmeansInput input{blocks, d, whitening, measure_blocks(blocks, d)};
  const std::int64_t n = input.count();
  KmeansResult result;
  result.k = count_distinct(blocks, d, parameters.k);

  // This rank's points are a contiguous share of the groups.
  const auto groups = communicator.share((n + group_points - 1) / group_points);
  const std::int64_t first = std::min(groups.first * group_points, n);
  const std::int64_t last = std::min(groups.last * group_points, n);
  const TiledBlocks points = tile_blocks(input, first, last - first, parameters.threads);

  Stopwatch watch;
  std::vector<float> codebook = initial_codebook(input, points, result.k, parameters, communicator);
  const Annealing annealing(parameters.anneal, parameters.iterations, blocks, d, parameters.seed,
                            parameters.stream);
  CodewordTable table(result.k, d);
  Clusters clusters(input, points, communicator.max(points.largest_norm2), result.k, parameters.threads,
                    parameters.backend != nullptr ? *parameters.backend : cpu_backend());
  CodeRate rate(result.k, parameters.bit_price, parameters.codeword_bits);
  for (std::int64_t i = 0; i < parameters.iterations; ++i) {
    KmeansIteration iteration = e_step(input, codebook, table, clusters, rate, communicator);
    if (iteration.moved > 0 || annealing.is_on()) {
      if (!rate.active())
        iteration.refilled = refill_empty_clusters(input, points, clusters, codebook, communicator);
      annealing.disturb(i + 1, m_step(clusters, d, codebook), codebook);
    }
    std::int64_t dropped = 0;
    if (rate.is_time_to_drop(i, iteration.moved))
      dropped = drop_codewords(input, points, clusters, codebook, rate, parameters.threads, communicator);
    iteration.seconds = watch.lap();  // the first one includes k-means++
    result.iterations.push_back(iteration);
    if (iteration.moved == 0 && dropped == 0 && !annealing.is_on())
      break;  // the means would be what they were
  }
  StoredCodebook stored = round_codebook(codebook, d, parameters.codebook_type);
  result.codebook = std::move(stored.halves);
  result.codebook_scale = stored.scale;
  result.iterations.push_back(e_step(input, codebook, table, clusters, rate, communicator));
  result.iterations.back().seconds = watch.lap();

  // Every rank gets all codes, in the order of the blocks.
  const std::vector<std::uint16_t> codes(clusters.codes().begin(), clusters.codes().end());
  result.codes = communicator.all_gather(std::span<const std::uint16_t>(codes));
  if (rate.active()) result.k = compact(result.codebook, result.codes, d);
  return result;
}

}  // namespace bitfall
