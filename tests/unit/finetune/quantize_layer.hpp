#pragma once
#include "bitfall/kmeans.hpp"
#include "bitfall/network.hpp"
#include "bitfall/quantized_layer.hpp"

namespace bitfall::test {

/// A layer of the network with a k-means codebook of its weight.
inline QuantizedLayer quantize_layer(const Network& network, const std::string& name, std::int64_t d,
                                     std::int64_t k) {
  const at::Tensor weight = network.tensor(name + ".weight").contiguous();
  const std::span<const float> values(weight.const_data_ptr<float>(),
                                      static_cast<std::size_t>(weight.numel()));
  KmeansResult result = kmeans(values, d, Whitening::identity(d), {.k = k}, Communicator::self());
  return QuantizedLayer{.name = name,
                        .weight_name = name + ".weight",
                        .weight_shape = weight.sizes().vec(),
                        .d = d,
                        .k = result.k,
                        .metric = Metric::euclidean,
                        .codebook = std::move(result.codebook),
                        .codes = std::move(result.codes),
                        .iterations = std::move(result.iterations)};
}

}  // namespace bitfall::test
