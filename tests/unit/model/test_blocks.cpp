#include "bitfall/errors.hpp"
#include "catch.hpp"
#include "model/blocks.hpp"
#include "script_models.hpp"

namespace bitfall::test {
namespace {

/// Two convolutions (one with channels-last memory, one with groups) and a linear layer whose memory is
/// transposed.
Network strided_network() {
  torch::jit::Module net = empty_module();
  torch::jit::Module conv = add_weights(net, "conv", {4, 3, 3, 2}, 1, false);
  conv.setattr("weight", values({4, 3, 3, 2}, 1).contiguous(at::MemoryFormat::ChannelsLast));
  add_weights(net, "grouped", {6, 2, 3, 3}, 2, false);
  torch::jit::Module fc = add_weights(net, "fc", {5, 6}, 3, false);
  fc.setattr("weight", values({6, 5}, 3).t());
  net.define(R"(
    def forward(self, x):
        y = torch.conv2d(torch.conv2d(x, self.conv.weight, None, [1, 1], [1, 1]), self.grouped.weight,
                         None, [1, 1], [0, 0], [1, 1], 2)
        return torch.linear(y.mean([2, 3]), self.fc.weight)
  )");
  return Network::from_bytes(bytes_of(net), "net.pt");
}

}  // namespace

TEST_CASE("blocks are the rows of the weight matrix cut into pieces", "[blocks]") {
  const Network network = strided_network();
  REQUIRE(network.layers().size() == 3);
  CHECK_FALSE(network.tensor("conv.weight").is_contiguous());
  CHECK_FALSE(network.tensor("fc.weight").is_contiguous());
  for (const Layer& layer : network.layers()) {
    INFO(layer.name);
    const at::Tensor weight = network.tensor(layer.weight_name);
    for (std::int64_t d = 1; d <= layer.columns(); ++d) {
      if (layer.columns() % d != 0) {
        CHECK_THROWS_AS(read_blocks(network, layer, d), ConfigError);
        continue;
      }
      const std::vector<float> blocks = read_blocks(network, layer, d);
      REQUIRE(static_cast<std::int64_t>(blocks.size()) == layer.elements());
      const std::int64_t m = layer.columns() / d;
      const std::int64_t kernel = layer.kernel_elements();
      const std::int64_t width = layer.weight_shape.size() > 2 ? layer.weight_shape[3] : 1;
      for (std::int64_t i = 0; i < layer.elements(); ++i) {  // block r * m + j, element e
        const std::int64_t r = i / d / m, column = i / d % m * d + i % d;
        at::Tensor element = weight[r][column / kernel];
        if (kernel > 1) element = element[column % kernel / width][column % width];
        CHECK(blocks[static_cast<std::size_t>(i)] == element.item<float>());
      }
    }
  }
  CHECK_THROWS_AS(read_blocks(network, network.layers()[0], 0), ConfigError);
}

TEST_CASE("blocks that are written come back, and the network computes with them", "[blocks]") {
  Network network = strided_network();
  const at::Tensor input = values({2, 3, 7, 7}, 8);
  for (const Layer& layer : network.layers()) {
    INFO(layer.name);
    const at::Tensor before = network.forward(input.clone());
    const std::vector<std::int64_t> strides = network.tensor(layer.weight_name).strides().vec();
    const at::Tensor fresh = values(layer.weight_shape, 50);
    const std::span<const float> blocks(fresh.const_data_ptr<float>(),
                                        static_cast<std::size_t>(fresh.numel()));
    write_blocks(network, layer, blocks);
    CHECK(read_blocks(network, layer, 1) == std::vector<float>(blocks.begin(), blocks.end()));
    CHECK(same_bits(network.tensor(layer.weight_name), fresh));
    CHECK(network.tensor(layer.weight_name).strides().vec() == strides);
    CHECK(largest_difference(network.forward(input.clone()), before) > 1e-6);
    CHECK_THROWS_AS(write_blocks(network, layer, blocks.subspan(1)), DataError);
  }
  CHECK(same_bits(ordinary_forward(network.save(), input), network.forward(input.clone())));
}

}  // namespace bitfall::test
