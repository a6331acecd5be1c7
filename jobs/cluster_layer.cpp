#include "cluster_layer.hpp"

#include <ATen/core/Tensor.h>

#include <cstdio>

#include "bitfall/random.hpp"
#include "src/quantization/code_rate.hpp"

namespace bitfall {

namespace {

/// A layer's weight as n x d blocks. C order makes this a plain copy: block j of row r is entry r*m + j.
std::vector<float> weight_blocks(const Network& network, const Layer& layer) {
  const at::Tensor weight = network.tensor(layer.weight_name).to(at::kFloat).contiguous();
  const float* data = weight.const_data_ptr<float>();
  return {data, data + weight.numel()};
}

/// The values of a codeword, and about a byte in the table of an entropy coder.
double codeword_bits(std::int64_t d, CodebookType type) {
  return (type == CodebookType::int8 ? 8 : 16) * double(d) + 8;
}

}  // namespace

double coded_bytes(const QuantizedLayer& layer) {
  return entropy_bits(layer.codes) / 8 + double(layer.codebook_bytes());
}

double coded_bytes(const std::vector<QuantizedLayer>& layers) {
  double bytes = 0;
  for (const QuantizedLayer& layer : layers) bytes += coded_bytes(layer);
  return bytes;
}

QuantizerParameters quantizer_parameters(const ClusterParameters& parameters) {
  return {.kmeans = {.iterations = parameters.iterations,
                     .seed = parameters.seed,
                     .threads = parameters.threads,
                     .anneal = parameters.anneal,
                     .backend = parameters.backend,
                     .codebook_type = parameters.codebook_type.value_or(CodebookType::fp16)},
          .sweeps = parameters.sweeps,
          .target_iterations = parameters.target_iterations,
          .restarts = parameters.restarts,
          .damping = parameters.damping};
}

ClusteredLayer cluster_layer(const Network& network, const Plan& plan, std::size_t index,
                             const LayerMoments& moments, const ClusterParameters& parameters,
                             const Communicator& communicator) {
  const LayerPlan& planned = plan.layers.at(index);
  const std::vector<float> blocks = weight_blocks(network, planned.layer);
  const WeightBlocks weight{blocks, planned.layer.rows(), planned.d};
  QuantizerParameters quantizer = quantizer_parameters(parameters);
  quantizer.kmeans.k = planned.k;
  quantizer.kmeans.stream = random_stream::clustering + index;
  quantizer.kmeans.codeword_bits = codeword_bits(planned.d, quantizer.kmeans.codebook_type);
  quantizer.relative_bit_price = planned.bit_price;
  // With a price of bits there are no weights of rows (as --output-weights, see compress).
  LayerMoments unweighted;
  const bool drops_weights = planned.bit_price > 0 && planned.layer.transposed;
  if (drops_weights) {
    unweighted = moments;
    unweighted.row_weights.clear();
  }
  QuantizedBlocks result =
      quantize_blocks(weight, planned.metric, drops_weights ? unweighted : moments, quantizer, communicator);
  const double relative_error = result.relative_error();
  ClusteredLayer clustered;
  clustered.layer = QuantizedLayer{.name = planned.layer.name,
                                   .weight_name = planned.layer.weight_name,
                                   .kind = planned.layer.kind,
                                   .weight_shape = planned.layer.weight_shape,
                                   .groups = planned.layer.groups,
                                   .d = planned.d,
                                   .k = result.kmeans.k,
                                   .metric = planned.metric,
                                   .codebook = std::move(result.kmeans.codebook),
                                   .codebook_scale = result.kmeans.codebook_scale,
                                   .codes = std::move(result.kmeans.codes),
                                   .iterations = std::move(result.kmeans.iterations)};
  clustered.relative_error = relative_error;
  return clustered;
}

void report(const ClusteredLayer& clustered, Reporter& reporter) {
  const QuantizedLayer& layer = clustered.layer;
  reporter.event("layer", {{"layer", layer.name},
                           {"d", layer.d},
                           {"k", layer.k},
                           {"n", layer.codes.size()},
                           {"iterations", layer.iterations.size()},
                           {"objective", layer.iterations.back().objective},
                           {"relative_error", clustered.relative_error},
                           {"coded_bytes", coded_bytes(layer)}});
  char error[32];
  std::snprintf(error, sizeof error, "%.4f", clustered.relative_error);
  reporter.info("layer " + layer.name + ": " + std::to_string(layer.codes.size()) + " blocks of " +
                std::to_string(layer.d) + ", k " + std::to_string(layer.k) + ", " +
                std::to_string(layer.iterations.size()) + " iterations, relative error " + error);
}

}  // namespace bitfall
