#include "bitfall/quantizer.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "bitfall/errors.hpp"
#include "bitfall/quantized_layer.hpp"
#include "bitfall/random.hpp"
#include "quantization/code_rate.hpp"
#include "quantization/codeword_order.hpp"
#include "quantization/full_descent.hpp"
#include "quantization/kmeans_blockwise.hpp"
#include "quantization/stopwatch.hpp"
#include "quantization/target_weight.hpp"

namespace bitfall {
namespace {

Whitening pooled_whitening(const WeightBlocks& weight, Metric metric, const LayerMoments& moments) {
  return metric == Metric::euclidean ? Whitening::identity(weight.d)
                                     : Whitening::from_gram(moments.pooled, weight.d);
}

/// sum |L^T v|^2
double whitened_energy(std::span<const float> blocks, const Whitening& whitening) {
  std::vector<float> whitened(blocks.size());
  whitening.apply(blocks, whitened);
  double sum = 0;
  for (const float v : whitened) sum += double(v) * double(v);
  return sum;
}

/// sum over rows and positions of w_r v^T G_j v
double blockwise_energy(const Problem& problem, const PositionMetrics& metrics) {
  const auto d = static_cast<std::size_t>(problem.weight.d);
  const float* block = problem.weight.values.data();
  double sum = 0;
  for (const std::int64_t row_weight : problem.row_weights) {
    for (std::int64_t j = 0; j < metrics.positions(); ++j, block += d) {
      const std::span<const double> gram = metrics.gram(j);
      double energy = 0;
      for (std::size_t a = 0; a < d; ++a)
        for (std::size_t b = 0; b < d; ++b) energy += double(block[a]) * gram[a * d + b] * double(block[b]);
      sum += row_weight_unit * double(row_weight) * energy;
    }
  }
  return sum * metrics.unit();
}

/// The pooled result as the start of a finer metric.
BlockwiseState start_from(const KmeansResult& coarse) {
  BlockwiseState state;
  for (const std::uint16_t bits : coarse.codebook) state.codebook.push_back(half_to_float(bits));
  return state;
}

std::vector<std::uint16_t> narrow(std::span<const std::int32_t> codes) {
  return {codes.begin(), codes.end()};
}

/// `codebook` and the result become what is stored.
void store_codebook(std::span<float> codebook, std::int64_t d, CodebookType type, KmeansResult& result) {
  StoredCodebook stored = round_codebook(codebook, d, type);
  result.codebook = std::move(stored.halves);
  result.codebook_scale = stored.scale;
}

/// The prices of the codes that a coarser stage has found.
template <class Code>
CodeRate rate_of(const QuantizerParameters& parameters, double energy, std::int64_t k,
                 const std::vector<Code>& codes) {
  CodeRate rate(k, parameters.relative_bit_price * energy, parameters.kmeans.codeword_bits);
  rate.update(std::vector<std::int32_t>(codes.begin(), codes.end()));
  return rate;
}

/// Drops the codewords that do not earn their price, and takes it back where the blocks that must move
/// together cost more than each of them alone promised.
void drop_codewords(FullDescent& descent, CodeRate& rate) {
  const std::vector<float> codebook(descent.codebook().begin(), descent.codebook().end());
  const std::vector<std::int32_t> codes = descent.all_codes();
  const double before = descent.objective() + rate.cost();
  if (rate.drop(descent.alternatives(rate.penalties(descent.error_unit()))) == 0) return;
  (void)descent.sweep(rate.penalties(descent.error_unit()));
  rate.update(descent.all_codes());
  if (descent.objective() + rate.cost() <= before) return;
  descent.start(codebook, codes);
  rate.update(codes);
}

/// Sweeps from the blockwise result on; the codebook is rounded before the last ones.
void sweep(FullDescent& descent, const Problem& problem, const QuantizerParameters& parameters,
           CodeRate& rate, KmeansResult& result) {
  constexpr std::int64_t gradient_steps = 2;  // 3 and 6 were no better on ResNet-18 and ResNet-20
  Stopwatch watch;
  const auto sweep_once = [&] {
    std::vector<std::int64_t> moved{descent.sweep(rate.penalties(descent.error_unit()))};
    problem.communicator.sum(moved);
    if (rate.active()) rate.update(descent.all_codes());
    result.iterations.push_back({descent.objective() + rate.cost(), moved[0], 0, watch.lap(), rate.cost()});
    return moved[0];
  };
  for (std::int64_t i = 0; i < parameters.sweeps; ++i) {
    descent.fit_codebook(gradient_steps);
    if (rate.active()) drop_codewords(descent, rate);
    if (sweep_once() == 0) break;
  }
  descent.fit_codebook(gradient_steps);
  std::vector<float> codebook(descent.codebook().begin(), descent.codebook().end());
  store_codebook(codebook, problem.weight.d, parameters.kmeans.codebook_type, result);
  descent.set_codebook(codebook);
  for (int i = 0; i < 2; ++i)
    if (sweep_once() == 0) break;
  result.codes = narrow(descent.all_codes());
  if (rate.active()) result.k = compact(result.codebook, result.codes, problem.weight.d);
}

/// k-means with the pooled matrix, then blockwise k-means: the result, or the start of the sweeps. Bits have
/// a price, a part of `energy`, from blockwise k-means on.
BlockwiseState blockwise(const Problem& problem, const PositionMetrics& metrics, const LayerMoments& moments,
                         const QuantizerParameters& parameters, std::int64_t iterations, double energy,
                         KmeansResult& result) {
  KmeansParameters start = parameters.kmeans;
  start.iterations = std::min(start.iterations, parameters.start_iterations);
  start.anneal = 0;  // the noise dies once, in the iterations that follow
  const Whitening whitening = pooled_whitening(problem.weight, Metric::activation, moments);
  result = kmeans(problem.weight.values, problem.weight.d, whitening, start, problem.communicator);
  BlockwiseState state = start_from(result);
  const Annealing annealing(parameters.kmeans.anneal, iterations, problem.weight.values, problem.weight.d,
                            start.seed, start.stream);
  CodeRate rate = rate_of(parameters, energy, result.k, result.codes);
  result.iterations = blockwise_kmeans(problem, metrics, iterations, annealing, state, rate);
  return state;
}

/// The parameters of a restart: other random numbers.
QuantizerParameters restarted(QuantizerParameters parameters, std::int64_t restart) {
  parameters.kmeans.stream += static_cast<std::uint64_t>(restart) * random_stream::clustering_restart;
  return parameters;
}

/// The result of least final objective of `parameters.restarts` attempts, the first of equals.
template <class Attempt>
KmeansResult best_of(const QuantizerParameters& parameters, const Attempt& attempt) {
  KmeansResult best = attempt(parameters);
  for (std::int64_t restart = 1; restart < parameters.restarts; ++restart) {
    KmeansResult other = attempt(restarted(parameters, restart));
    if (other.iterations.back().objective < best.iterations.back().objective) best = std::move(other);
  }
  return best;
}

KmeansResult quantize_blockwise(const Problem& problem, const PositionMetrics& metrics,
                                const LayerMoments& moments, const QuantizerParameters& parameters,
                                double energy) {
  KmeansResult result;
  BlockwiseState state =
      blockwise(problem, metrics, moments, parameters, parameters.kmeans.iterations, energy, result);
  store_codebook(state.codebook, problem.weight.d, parameters.kmeans.codebook_type, result);
  CodeRate rate = rate_of(parameters, energy, result.k, state.codes);
  result.iterations.push_back(blockwise_assign(problem, metrics, state, rate));
  result.codes = narrow(state.codes);
  if (rate.active()) result.k = compact(result.codebook, result.codes, problem.weight.d);
  return result;
}

QuantizedBlocks quantize_fully(Problem problem, const LayerMoments& moments,
                               const QuantizerParameters& parameters) {
  QuantizedBlocks quantized;
  const PackedGram gram(moments.full, parameters.damping);
  std::vector<float> target;
  if (!moments.wanted_outputs.empty()) {
    target = target_weight(problem, gram, moments.wanted_outputs, parameters.target_iterations);
    problem.weight.values = target;
  }
  const PositionMetrics metrics(moments.per_position, problem.weight.d);
  FullDescent descent(problem, gram);
  descent.start(std::vector<float>(static_cast<std::size_t>(problem.weight.d), 0.0f),
                std::vector<std::int32_t>(
                    static_cast<std::size_t>(problem.weight.rows * problem.weight.positions()), 0));
  quantized.energy = descent.objective();
  quantized.kmeans = best_of(parameters, [&](const QuantizerParameters& attempt) {
    KmeansResult result;
    const BlockwiseState state = blockwise(problem, metrics, moments, attempt,
                                           std::min(attempt.kmeans.iterations, attempt.blockwise_iterations),
                                           quantized.energy, result);
    descent.start(state.codebook, state.codes);
    CodeRate rate = rate_of(attempt, quantized.energy, result.k, state.codes);
    sweep(descent, problem, attempt, rate, result);
    return result;
  });
  return quantized;
}

}  // namespace

QuantizedBlocks quantize_blocks(const WeightBlocks& weight, Metric metric, const LayerMoments& moments,
                                const QuantizerParameters& parameters, const Communicator& communicator) {
  BITFALL_ASSERT(parameters.relative_bit_price == 0 || moments.row_weights.empty(),
                 "row weights and a price of bits");
  QuantizedBlocks quantized;
  if (metric == Metric::euclidean || metric == Metric::activation) {
    const Whitening whitening = pooled_whitening(weight, metric, moments);
    const double energy = whitened_energy(weight.values, whitening);
    QuantizerParameters priced = parameters;
    priced.kmeans.bit_price = parameters.relative_bit_price * energy;
    quantized = {best_of(priced,
                         [&](const QuantizerParameters& attempt) {
                           return kmeans(weight.values, weight.d, whitening, attempt.kmeans, communicator);
                         }),
                 energy};
  } else {
    const Problem problem{weight, integer_row_weights(moments.row_weights, weight.rows),
                          parameters.kmeans.threads, communicator,
                          parameters.kmeans.backend != nullptr ? *parameters.kmeans.backend : cpu_backend()};
    if (metric == Metric::full) {
      quantized = quantize_fully(problem, moments, parameters);
    } else {
      const PositionMetrics metrics(moments.per_position, weight.d);
      const double energy = blockwise_energy(problem, metrics);
      quantized = {best_of(parameters,
                           [&](const QuantizerParameters& attempt) {
                             return quantize_blockwise(problem, metrics, moments, attempt, energy);
                           }),
                   energy};
    }
  }
  order_codewords(quantized.kmeans);
  return quantized;
}

}  // namespace bitfall
