#include <algorithm>
#include <cstddef>

#include "bitfall/errors.hpp"
#include "bitfall/quantizer.hpp"
#include "quantization/full_descent.hpp"
#include "quantization/kmeans_blockwise.hpp"
#include "quantization/target_weight.hpp"

namespace bitfall {
namespace {

/// The matrices of all positions: those of the metric, or one for all.
std::vector<double> position_grams(const WeightBlocks& weight, Metric metric, const LayerMoments& moments) {
  if (metric == Metric::blockwise) return moments.per_position;
  std::vector<double> one = moments.pooled;
  if (metric == Metric::euclidean) {
    one.assign(static_cast<std::size_t>(weight.d * weight.d), 0.0);
    for (std::int64_t a = 0; a < weight.d; ++a) one[static_cast<std::size_t>(a * (weight.d + 1))] = 1;
  }
  std::vector<double> all;
  for (std::int64_t j = 0; j < weight.positions(); ++j) all.insert(all.end(), one.begin(), one.end());
  return all;
}

/// sum over blocks of w_r (v - c)^T G_j (v - c); every rank has all blocks and adds them in one order.
double objective(const Problem& problem, const PositionMetrics& metrics, const BlockwiseState& state) {
  const auto d = static_cast<std::size_t>(problem.weight.d);
  const float* block = problem.weight.values.data();
  const std::int32_t* code = state.codes.data();
  std::vector<double> error(d);
  double sum = 0;
  for (const std::int64_t row_weight : problem.row_weights) {
    double row = 0;
    for (std::int64_t j = 0; j < metrics.positions(); ++j, block += d, ++code) {
      const float* codeword = state.codebook.data() + static_cast<std::size_t>(*code) * d;
      for (std::size_t a = 0; a < d; ++a) error[a] = double(block[a]) - double(codeword[a]);
      const std::span<const double> gram = metrics.gram(j);
      for (std::size_t a = 0; a < d; ++a)
        for (std::size_t b = 0; b < d; ++b) row += error[a] * gram[a * d + b] * error[b];
    }
    sum += row_weight_unit * double(row_weight) * row;
  }
  return sum * metrics.unit();
}

void reassign_blocks(const Problem& problem, const PositionMetrics& metrics, BlockwiseState& state,
                     Reassignment& result) {
  result.before = objective(problem, metrics, state);
  CodeRate free(static_cast<std::int64_t>(state.codebook.size()) / problem.weight.d, 0, 0);
  (void)blockwise_assign(problem, metrics, state, free);
  result.after = objective(problem, metrics, state);
}

void reassign_fully(Problem problem, const LayerMoments& moments, const QuantizerParameters& parameters,
                    BlockwiseState& state, Reassignment& result) {
  const PackedGram gram(moments.full, parameters.damping);
  std::vector<float> target;
  if (!moments.wanted_outputs.empty()) {
    target = target_weight(problem, gram, moments.wanted_outputs, parameters.target_iterations);
    problem.weight.values = target;
  }
  FullDescent descent(problem, gram);
  descent.start(state.codebook, state.codes);
  result.before = descent.objective();
  for (std::int64_t i = 0; i < parameters.sweeps; ++i) {
    if (problem.communicator.max(descent.sweep()) == 0) break;
  }
  descent.set_codebook(state.codebook);  // P without what its updates have rounded away
  result.after = descent.objective();
  state.codes = descent.all_codes();
}

}  // namespace

Reassignment reassign_codes(const WeightBlocks& weight, Metric metric, const LayerMoments& moments,
                            std::span<const float> codebook, std::span<const std::uint16_t> codes,
                            const QuantizerParameters& parameters, const Communicator& communicator) {
  BITFALL_ASSERT(codes.size() * static_cast<std::size_t>(weight.d) == weight.values.size(),
                 "one code for each block");
  const Problem problem{weight, integer_row_weights(moments.row_weights, weight.rows),
                        parameters.kmeans.threads, communicator,
                        parameters.kmeans.backend != nullptr ? *parameters.kmeans.backend : cpu_backend()};
  BlockwiseState state{{codebook.begin(), codebook.end()}, {codes.begin(), codes.end()}};
  Reassignment result;
  if (metric == Metric::full)
    reassign_fully(problem, moments, parameters, state, result);
  else
    reassign_blocks(problem, PositionMetrics(position_grams(weight, metric, moments), weight.d), state,
                    result);
  if (result.is_kept())
    result.codes.assign(state.codes.begin(), state.codes.end());
  else
    result.codes.assign(codes.begin(), codes.end());
  return result;
}

}  // namespace bitfall
