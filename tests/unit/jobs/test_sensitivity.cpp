// The divergence that each layer's error makes, against forward passes of the whole network.
#include "sensitivity.hpp"

#include <vector>

#include "../calibration/small_network.hpp"
#include "catch.hpp"
#include "evaluation.hpp"

using namespace bitfall;
using namespace bitfall::test;

namespace {

/// Two codewords a layer, any code.
QuantizedLayer coarse(const Layer& layer) {
  QuantizedLayer quantized{.name = layer.name,
                           .weight_name = layer.weight_name,
                           .kind = layer.kind,
                           .weight_shape = layer.weight_shape,
                           .groups = layer.groups,
                           .d = 1,
                           .k = 2,
                           .metric = Metric::activation,
                           .codebook = {0x2e66, 0xb266},  // 0.1, -0.2
                           .codebook_scale = 0,
                           .codes = {},
                           .iterations = {}};
  for (std::int64_t i = 0; i < layer.elements(); ++i)
    quantized.codes.push_back(static_cast<std::uint16_t>(i * i % 3 % 2));
  return quantized;
}

}  // namespace

TEST_CASE("sensitivities are those of whole forward passes, and leave the network as it was") {
  Network network = small_network();
  const Network untouched = small_network();
  const auto images = small_images(3);
  const CommonOptions options;
  const Communicator alone = Communicator::self();
  Reporter reporter{false, "", false};
  JobContext context{options, alone, reporter, 2};
  std::vector<QuantizedLayer> layers;
  for (const Layer& layer : network.layers())
    if (layer.name != "conv1") layers.push_back(coarse(layer));
  REQUIRE(layers.size() == 2);

  const std::vector<double> found = measure_sensitivities(network, layers, images, context);
  REQUIRE(found.size() == layers.size());
  for (std::size_t l = 0; l < layers.size(); ++l) {
    Network changed = small_network();
    changed.set_tensor(layers[l].weight_name, decode(layers[l]));
    Evaluation expected;
    for (const at::Tensor& batch : images) {
      const std::vector<std::int64_t> labels(static_cast<std::size_t>(batch.size(0)), 0);
      expected.add(changed.forward(batch.clone()), labels, untouched.forward(batch.clone()));
    }
    CHECK(expected.divergence() > 0);
    CHECK(found[l] == expected.divergence());
  }
  CHECK(network.equals(untouched));
}
