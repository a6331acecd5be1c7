#include "model/blocks.hpp"

#include <ATen/core/Tensor.h>

#include <string>

#include "bitfall/errors.hpp"

namespace bitfall {

std::vector<float> read_blocks(const Network& network, const Layer& layer, std::int64_t d) {
  if (d <= 0 || layer.columns() % d != 0) {
    throw ConfigError("layer '" + layer.name + "' has " + std::to_string(layer.columns()) +
                      " columns, which d = " + std::to_string(d) + " does not divide");
  }
  const at::Tensor weight = network.tensor(layer.weight_name).to(at::kFloat).contiguous();
  const float* first = weight.const_data_ptr<float>();
  return {first, first + weight.numel()};
}

void write_blocks(Network& network, const Layer& layer, std::span<const float> blocks) {
  network.set_tensor(layer.weight_name, blocks);
}

}  // namespace bitfall
