#include <ATen/ops/ones_like.h>

#include <vector>

#include "../calibration/small_network.hpp"
#include "bitfall/errors.hpp"
#include "catch.hpp"
#include "finetune/trained_space.hpp"
#include "quantize_layer.hpp"

using namespace bitfall;
using namespace bitfall::test;

TEST_CASE("values go into the network and gradients come back from it") {
  Network network = small_network();
  std::vector<QuantizedLayer> layers = {quantize_layer(network, "conv2", 9, 4)};
  TrainedSpace space;
  space.add_codebook(layers[0]);
  space.add_tensor(network, "bn1.weight");
  REQUIRE(space.lengths() == std::vector<std::int64_t>{36, 8});
  REQUIRE(space.names() == std::vector<std::string>{"conv2.weight", "bn1.weight"});
  for (float& value : space.values()) value *= 2;
  space.write(network);
  const std::vector<float> decoded = decode(layers[0]);
  const at::Tensor weight = network.tensor("conv2.weight");
  for (std::int64_t i = 0; i < weight.numel(); ++i)
    REQUIRE(weight.const_data_ptr<float>()[i] == 2 * decoded[static_cast<std::size_t>(i)]);
  REQUIRE(same(network.tensor("bn1.weight"), at::ones({8}) * 2));

  std::vector<double> row(44);
  const std::vector<at::Tensor> gradients = {at::ones_like(weight), at::ones({8}) * 3};
  space.gather(gradients, row);
  for (std::size_t i = 0; i < 44; ++i) REQUIRE(row[i] == (i < 36 ? 1 : 3));
}

TEST_CASE("rounding to fp16 changes vector and layers alike, and names a layer that can't be stored") {
  Network network = small_network();
  std::vector<QuantizedLayer> layers = {quantize_layer(network, "conv2", 9, 4)};
  TrainedSpace space;
  space.add_codebook(layers[0]);
  space.values()[0] = 1.0001F;
  space.round_codebooks(layers);
  REQUIRE(space.values()[0] == 1.0F);
  REQUIRE(half_to_float(layers[0].codebook[0]) == 1.0F);
  space.values()[5] = 70000;
  try {
    space.round_codebooks(layers);
    FAIL("no exception");
  } catch (const DataError& error) {
    REQUIRE(std::string(error.what()).find("conv2") != std::string::npos);
  }
}

TEST_CASE("a codebook of multiples of a scale is one again after it was trained") {
  Network network = small_network();
  std::vector<QuantizedLayer> layers = {quantize_layer(network, "conv2", 9, 4)};
  layers[0].codebook_scale = 1;  // int8; which scale does not matter here
  TrainedSpace space;
  space.add_codebook(layers[0]);
  for (float& value : space.values()) value *= 0.9F;
  space.values()[3] = 1.27F;
  space.round_codebooks(layers);
  REQUIRE(layers[0].codebook_scale == half_to_float(float_to_half(1.27F)) / 63);
  const CodebookIntegers integers = codebook_integers(layers[0].codebook, 9, layers[0].codebook_scale);
  REQUIRE(integers.multiples[3] == 63);
  for (std::size_t i = 0; i < integers.multiples.size(); ++i)
    REQUIRE(space.values()[i] == half_to_float(codebook_value(integers.multiples[i], layers[0].codebook_scale,
                                                              integers.exponents[i / 9])));
}
