#pragma once
/// One layer of a network through k-means: what `compress` and `quantize` share.
#include <optional>
#include <string>

#include "bitfall/communicator.hpp"
#include "bitfall/network.hpp"
#include "bitfall/plan.hpp"
#include "bitfall/quantized_layer.hpp"
#include "bitfall/quantizer.hpp"
#include "reporter.hpp"

namespace bitfall {

/// What of the command line decides how weights are quantized, beside the plan.
struct ClusterParameters {
  std::int64_t iterations = 100;  ///< of k-means (paper)
  double anneal = 0;              ///< KmeansParameters::anneal
  std::int64_t restarts = QuantizerParameters{}.restarts;
  std::int64_t sweeps = QuantizerParameters{}.sweeps;
  double damping = QuantizerParameters{}.damping;
  std::int64_t target_iterations = QuantizerParameters{}.target_iterations;
  std::optional<CodebookType> codebook_type;  ///< fp16 without a value
  std::uint64_t seed = 0;
  int threads = 1;
  std::string device = "auto";       ///< auto, cpu or cuda
  const Backend* backend = nullptr;  ///< what `device` has become; nullptr: the CPU
};

/// What of it the quantizer takes.
[[nodiscard]] QuantizerParameters quantizer_parameters(const ClusterParameters& parameters);

/// A layer and how much of its weight's energy, as the metric sees it, was lost.
struct ClusteredLayer {
  QuantizedLayer layer;
  double relative_error = 0;
};

/// Bytes of codes, ideally entropy-coded, and of codebooks in fp16.
[[nodiscard]] double coded_bytes(const QuantizedLayer& layer);
[[nodiscard]] double coded_bytes(const std::vector<QuantizedLayer>& layers);

/// Clusters the weights of layer `index` of the plan as the network has them now. The ranks of `communicator`
/// share the work; the outcome does not depend on them.
[[nodiscard]] ClusteredLayer cluster_layer(const Network& network, const Plan& plan, std::size_t index,
                                           const LayerMoments& moments, const ClusterParameters& parameters,
                                           const Communicator& communicator);

void report(const ClusteredLayer& clustered, Reporter& reporter);

}  // namespace bitfall
