// The sizes that the paper and its released files have (table in the README of the reference data).
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "bitfall/plan.hpp"
#include "catch.hpp"
#include "resnet_shapes.hpp"

using namespace bitfall;
using bitfall::testing::NetworkShapes;

namespace {

Plan plan_of(const NetworkShapes& net, Regime regime, std::int64_t k = 256,
             const std::string& preset = "auto") {
  PlanParameters parameters;
  parameters.regime = regime;
  parameters.k = k;
  parameters.preset = preset;
  return make_plan(net.layers, net.tensors, parameters);
}

double mib(std::int64_t bytes) {
  return double(bytes) / 1048576.0;
}

/// The same count, the slow and obvious way: one code and one codebook entry at a time.
std::int64_t information_bytes_of(const NetworkShapes& net, const Plan& plan) {
  std::int64_t bytes = 0;
  for (const LayerPlan& layer : plan.layers) {
    if (!layer.quantized) {
      bytes += 4 * layer.layer.elements();
      continue;
    }
    std::int64_t bits = 0;
    for (std::int64_t block = 0; block < layer.layer.elements() / layer.d; ++block) {
      bits += std::llround(std::ceil(std::log2(double(layer.k))));
    }
    bytes += (bits + 7) / 8;
    for (std::int64_t value = 0; value < layer.k * layer.d; ++value) bytes += 2;
  }
  for (const TensorInfo& tensor : net.tensors) {
    const bool kept = tensor.role == TensorRole::bias || tensor.role == TensorRole::batch_norm_scale ||
                      tensor.role == TensorRole::batch_norm_shift;
    if (kept) bytes += 4 * tensor.elements();
  }
  return bytes;
}

struct Row {
  std::string network;
  Regime regime;
  std::vector<double> mib;  ///< at k = 256, 512, 1024, 2048
};

}  // namespace

TEST_CASE("ResNet-18 and ResNet-50 have the published sizes to three decimals") {
  const std::vector<Row> table = {{"resnet18", Regime::small, {1.541, 1.766, 2.027, 2.375}},
                                  {"resnet18", Regime::large, {1.029, 1.215, 1.493, 1.854}},
                                  {"resnet50", Regime::small, {5.091, 5.741, 6.475, 7.428}},
                                  {"resnet50", Regime::large, {3.184, 3.665, 4.365, 5.252}}};
  for (const Row& row : table) {
    const NetworkShapes net =
        row.network == "resnet18" ? bitfall::testing::resnet18() : bitfall::testing::bottleneck_resnet();
    for (std::size_t i = 0; i < row.mib.size(); ++i) {
      const Plan plan = plan_of(net, row.regime, std::int64_t{256} << i);
      INFO(row.network << " " << to_string(row.regime) << " k " << (256 << i));
      CHECK(plan.preset == row.network);
      CHECK(std::round(mib(plan.sizes.information_bytes()) * 1000) == std::round(row.mib[i] * 1000));
      CHECK(plan.sizes.information_bytes() == information_bytes_of(net, plan));
      CHECK(plan.quantized_layers() == std::int64_t(plan.layers.size()) - 1);
    }
  }
}

TEST_CASE("with the rest in fp16 the sizes are those of the authors' files") {
  const auto fp16 = [](const NetworkShapes& net, Regime regime) {
    return mib(plan_of(net, regime).sizes.information_bytes_fp16());
  };
  CHECK(fp16(bitfall::testing::resnet18(), Regime::small) == Approx(1.5029).margin(5e-5));
  CHECK(fp16(bitfall::testing::resnet18(), Regime::large) == Approx(0.9912).margin(5e-5));
  CHECK(fp16(bitfall::testing::bottleneck_resnet(), Regime::large) == Approx(3.0629).margin(5e-5));
}

TEST_CASE("ResNet-20 has the size of the authors' code on it") {
  const NetworkShapes net = bitfall::testing::resnet20();
  const Plan small = plan_of(net, Regime::small);
  const Plan large = plan_of(net, Regime::large);
  CHECK(mib(small.sizes.information_bytes()) == Approx(0.0761).margin(5e-5));
  CHECK(mib(large.sizes.information_bytes()) == Approx(0.0840).margin(5e-5));
  CHECK(small.sizes.ratio() == Approx(13.5).margin(0.05));
  CHECK(small.quantized_layers() == 19);
  CHECK(small.sizes.original_bytes == 4 * 269722);  // parameters of the published ResNet-20
}

TEST_CASE("the original size counts parameters, not buffers") {
  CHECK(plan_of(bitfall::testing::resnet18(), Regime::small).sizes.original_bytes == 4 * 11689512);
  CHECK(plan_of(bitfall::testing::bottleneck_resnet(), Regime::small).sizes.original_bytes == 4 * 25557032);
}

TEST_CASE("a batch norm counts two values a channel, with and without affine parameters") {
  NetworkShapes net;
  net.add_convolution("stem", 16, 3, 3);
  net.add_convolution("conv", 64, 16, 3);
  const std::int64_t without = plan_of(net, Regime::small).sizes.kept_elements;
  NetworkShapes affine = net;
  affine.add_batch_norm("bn", 64);
  CHECK(plan_of(affine, Regime::small).sizes.kept_elements == without + 128);
  NetworkShapes plain = net;
  plain.tensors.push_back({"bn.running_mean", "float32", {64}, TensorRole::batch_norm_mean, {}});
  plain.tensors.push_back({"bn.running_var", "float32", {64}, TensorRole::batch_norm_variance, {}});
  CHECK(plan_of(plain, Regime::small).sizes.kept_elements == without + 128);
  CHECK(plan_of(plain, Regime::small).sizes.original_bytes ==
        plan_of(net, Regime::small).sizes.original_bytes);
}

TEST_CASE("a tensor that modules share counts once") {
  NetworkShapes net;
  net.add_convolution("stem", 16, 3, 3);
  net.add_convolution("conv", 64, 16, 3);
  net.add_batch_norm("bn", 64);
  const Sizes once = plan_of(net, Regime::small).sizes;
  NetworkShapes tied = net;
  tied.tensors.push_back({"twin.weight", "float32", {64, 16, 3, 3}, TensorRole::weight, "conv.weight"});
  tied.tensors.push_back({"stem2.weight", "float32", {16, 3, 3, 3}, TensorRole::weight, "stem.weight"});
  for (TensorInfo tensor : net.tensors) {
    if (tensor.name.starts_with("bn.")) {
      tensor.tied_to = tensor.name;
      tensor.name = "twin_" + tensor.name;
      tied.tensors.push_back(tensor);
    }
  }
  const Sizes shared = plan_of(tied, Regime::small).sizes;
  CHECK(shared.original_bytes == once.original_bytes);
  CHECK(shared.kept_elements == once.kept_elements);
  tied.layers[1].weight_name = "twin.weight";  // either name stands for the tensor
  CHECK(plan_of(tied, Regime::small).sizes.kept_elements == once.kept_elements);
}

TEST_CASE("codes are counted in bits, rounded up to whole bytes for each layer") {
  LayerPlan plan;
  plan.n = 3;
  for (const auto& [k, bits] : std::vector<std::pair<std::int64_t, int>>{
           {1, 0}, {2, 1}, {3, 2}, {4, 2}, {5, 3}, {256, 8}, {257, 9}, {65536, 16}}) {
    plan.k = k;
    CHECK(plan.code_bits() == bits);
    CHECK(plan.codes_bytes() == (3 * bits + 7) / 8);
  }
}
