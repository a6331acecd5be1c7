// Which layers are quantized, with which d and k, and what a user may change.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bitfall/errors.hpp"
#include "bitfall/plan.hpp"
#include "catch.hpp"
#include "resnet_shapes.hpp"

using namespace bitfall;
using bitfall::testing::NetworkShapes;

namespace {

Plan plan_of(const NetworkShapes& net, const PlanParameters& parameters) {
  return make_plan(net.layers, net.tensors, parameters);
}

const LayerPlan& layer_of(const Plan& plan, const std::string& name) {
  for (const LayerPlan& layer : plan.layers) {
    if (layer.layer.name == name) return layer;
  }
  throw std::runtime_error("no layer " + name);
}

PlanParameters with_override(const PlanOverride& entry) {
  PlanParameters parameters;
  parameters.overrides = {entry};
  return parameters;
}

/// The message of the ConfigError that planning ends in.
std::string config_error(const NetworkShapes& net, const PlanParameters& parameters) {
  try {
    static_cast<void>(plan_of(net, parameters));
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no ConfigError";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// A stem, a small 3x3 convolution and whatever the test adds.
NetworkShapes small_network() {
  NetworkShapes net;
  net.add_convolution("stem", 32, 3, 3);
  net.add_convolution("body", 64, 32, 3);
  return net;
}

}  // namespace

TEST_CASE("the clamp is the largest power of two strictly below n/4") {
  for (std::int64_t n = 1; n < 5000; ++n) {
    std::int64_t expected = 1;
    for (std::int64_t k = 1; 4 * k < n; k *= 2) expected = k;
    REQUIRE(largest_k(n) == expected);
  }
  CHECK(largest_k(1024) == 128);  // 256 = n/4 is not strictly below
  CHECK(largest_k(1025) == 256);
  CHECK(largest_k(std::int64_t{1} << 40) == std::int64_t{1} << 37);
}

TEST_CASE("block sizes follow the paper's regimes") {
  const NetworkShapes r18 = bitfall::testing::resnet18();
  const NetworkShapes r50 = bitfall::testing::bottleneck_resnet();
  PlanParameters parameters;
  const Plan small18 = plan_of(r18, parameters), small50 = plan_of(r50, parameters);
  parameters.regime = Regime::large;
  const Plan large18 = plan_of(r18, parameters), large50 = plan_of(r50, parameters);
  const std::string three = "layer2.0.conv2", one = "layer2.0.downsample.0";
  CHECK(layer_of(small18, three).d == 9);
  CHECK(layer_of(small18, one).d == 4);
  CHECK(layer_of(large18, three).d == 18);
  CHECK(layer_of(large18, one).d == 4);
  CHECK(layer_of(small50, one).d == 4);
  CHECK(layer_of(large50, one).d == 8);
  CHECK(layer_of(large50, three).d == 18);
  for (const Plan& plan : {small18, large18}) CHECK(layer_of(plan, "fc").k == 2048);
  for (const Plan& plan : {small50, large50}) CHECK(layer_of(plan, "fc").k == 1024);
  for (const Plan& plan : {small18, large18, small50, large50}) CHECK(layer_of(plan, "fc").d == 4);
  // the released ResNet-50: 64 x 64 x 1 x 1 has 512 blocks of 8, and 64 codewords
  CHECK(layer_of(large50, "layer1.0.conv1").n == 512);
  CHECK(layer_of(large50, "layer1.0.conv1").k == 64);
  CHECK(layer_of(large50, "layer1.0.conv1").requested_k == 256);
}

TEST_CASE("auto takes the family from the kinds of convolutions") {
  const auto preset = [](const NetworkShapes& net) { return plan_of(net, {}).preset; };
  CHECK(preset(bitfall::testing::resnet18()) == "resnet18");
  CHECK(preset(bitfall::testing::resnet20()) == "resnet18");
  CHECK(preset(bitfall::testing::bottleneck_resnet()) == "resnet50");
  CHECK(preset(bitfall::testing::bottleneck_resnet({3, 4, 23, 3})) == "resnet50");
  CHECK(preset(bitfall::testing::bottleneck_resnet({3, 8, 36, 3})) == "resnet50");
  NetworkShapes mobile;  // depthwise convolutions have no vote
  mobile.add_convolution("stem", 32, 3, 3);
  mobile.add_convolution("depthwise", 32, 32, 3, 32);
  mobile.add_convolution("pointwise", 64, 32, 1);
  CHECK(preset(mobile) == "resnet50");
  PlanParameters parameters;
  parameters.preset = "resnet81";
  const std::string error = config_error(bitfall::testing::resnet18(), parameters);
  CHECK(contains(error, "'resnet81'"));
  CHECK(contains(error, "did you mean 'resnet18'"));
}

TEST_CASE("other kernels, grouped convolutions and block sizes that do not divide") {
  NetworkShapes net = small_network();
  net.add_convolution("five", 64, 32, 5);
  net.add_convolution("grouped", 64, 64, 3, 16);
  net.add_convolution("odd", 64, 33, 3);
  net.add_convolution("odd_pointwise", 64, 34, 1);
  net.add_convolution("prime", 64, 31, 1);
  net.add_linear("even", 100, 30);
  PlanParameters parameters;
  parameters.regime = Regime::large;
  parameters.preset = "resnet50";
  const Plan plan = plan_of(net, parameters);
  CHECK(layer_of(plan, "five").d == 10);  // two rows of the kernel
  CHECK(layer_of(plan, "grouped").d == 18);
  CHECK(layer_of(plan, "grouped").m == 2);
  CHECK(layer_of(plan, "grouped").n == 128);
  CHECK(layer_of(plan, "odd").d == 9);            // 18 does not divide 297
  CHECK(layer_of(plan, "odd_pointwise").d == 2);  // neither 8 nor 4 divides 34
  CHECK(layer_of(plan, "even").d == 2);
  CHECK_FALSE(layer_of(plan, "prime").quantized);
  CHECK(contains(layer_of(plan, "prime").reason, "31 columns"));
  for (const LayerPlan& layer : plan.layers) {
    if (layer.quantized) CHECK(layer.n * layer.d == layer.layer.elements());
  }
}

TEST_CASE("layers left alone say why and are counted as kept") {
  NetworkShapes net = small_network();
  net.add_convolution("depthwise", 64, 64, 3, 64);
  net.add_convolution("tiny", 2, 4, 1);
  net.add_convolution("transposed", 64, 64, 3).obstacle =
      "its weight is shared with a transposed convolution";
  const Plan plan = plan_of(net, {});
  CHECK(plan.quantized_layers() == 1);
  CHECK(contains(layer_of(plan, "stem").reason, "first convolution"));
  CHECK(contains(layer_of(plan, "depthwise").reason, "depthwise"));
  CHECK(contains(layer_of(plan, "tiny").reason, "too small: 2 blocks of 4"));
  CHECK(layer_of(plan, "transposed").reason == "its weight is shared with a transposed convolution");
  CHECK(layer_of(plan, "stem").k == 0);
  CHECK(plan.sizes.kept_elements == 32 * 27 + 64 * 9 + 8 + 64 * 64 * 9);
}

TEST_CASE("a network that begins with a linear layer keeps nothing back") {
  NetworkShapes net;
  net.add_linear("one", 256, 784);
  net.add_linear("two", 10, 256);
  CHECK(plan_of(net, {}).quantized_layers() == 2);
}

TEST_CASE("nothing to quantize is an error with the reasons") {
  NetworkShapes net;
  net.add_convolution("stem", 8, 3, 3);
  net.add_convolution("dw", 8, 8, 3, 8);
  try {
    static_cast<void>(plan_of(net, {}));
    FAIL("no error");
  } catch (const DataError& error) {
    CHECK(contains(error.what(), "stem: first convolution"));
    CHECK(contains(error.what(), "dw: depthwise"));
  }
  CHECK_THROWS_AS(make_plan({}, {}, {}), DataError);
}

TEST_CASE("overrides: globs, last match wins field by field") {
  const NetworkShapes net = bitfall::testing::resnet18();
  PlanParameters parameters;
  parameters.overrides = {{"layer4.*", 18, 512, {}},
                          {"layer4.?.conv2", {}, 64, {}},
                          {"layer4.0.downsample.0", 2, {}, {}},
                          {"layer1.*", {}, {}, false},
                          {"layer1.1.*", {}, {}, true}};
  const std::string error = config_error(net, parameters);  // 18 is overridden where it does not divide
  REQUIRE(error == "no ConfigError");
  const Plan plan = plan_of(net, parameters);
  CHECK(layer_of(plan, "layer4.0.conv1").d == 18);
  CHECK(layer_of(plan, "layer4.0.conv1").k == 512);
  CHECK(layer_of(plan, "layer4.1.conv2").d == 18);
  CHECK(layer_of(plan, "layer4.1.conv2").k == 64);
  CHECK(layer_of(plan, "layer4.0.downsample.0").d == 2);
  CHECK(layer_of(plan, "layer4.0.downsample.0").k == 512);
  CHECK(layer_of(plan, "layer3.0.conv1").d == 9);
  CHECK_FALSE(layer_of(plan, "layer1.0.conv1").quantized);
  CHECK(layer_of(plan, "layer1.1.conv1").quantized);
}

TEST_CASE("overrides: quantize = true takes the first convolution too, k alone does not") {
  const NetworkShapes net = bitfall::testing::resnet18();
  const Plan forced = plan_of(net, with_override({"conv1", {}, {}, true}));
  CHECK(layer_of(forced, "conv1").quantized);
  CHECK(layer_of(forced, "conv1").d == 7);  // a row of the kernel
  CHECK_FALSE(layer_of(plan_of(net, with_override({"*", {}, 64, {}})), "conv1").quantized);
}

TEST_CASE("overrides: k is clamped like every other, and need not be a power of two") {
  const NetworkShapes net = bitfall::testing::resnet18();
  const Plan plan = plan_of(net, with_override({"layer1.0.conv1", {}, 65536, {}}));
  CHECK(layer_of(plan, "layer1.0.conv1").k == 512);  // 4096 blocks: 1024 is not strictly below 1024
  CHECK(layer_of(plan, "layer1.0.conv1").requested_k == 65536);
  const Plan odd = plan_of(net, with_override({"layer1.0.conv1", {}, 300, {}}));
  CHECK(layer_of(odd, "layer1.0.conv1").k == 300);
  CHECK(layer_of(odd, "layer1.0.conv1").code_bits() == 9);
}

TEST_CASE("overrides: mistakes are named") {
  const NetworkShapes net = bitfall::testing::resnet18();
  const std::string divisor = config_error(net, with_override({"layer2.0.conv1", 16 * 9 + 1, {}, {}}));
  CHECK(contains(divisor, "'layer2.0.conv1'"));
  CHECK(contains(divisor, "d = 145"));
  CHECK(contains(divisor, "576 columns"));
  CHECK(contains(divisor, "96, 144, 192, 288"));
  const std::string pattern = config_error(net, with_override({"layer2.0.conv7", {}, 64, {}}));
  CHECK(contains(pattern, "'layer2.0.conv7'"));
  CHECK(contains(pattern, "nearest layer is 'layer2.0.conv1'"));
  for (const std::int64_t k : {-1, 0, 1, 65537}) {
    CHECK(contains(config_error(net, with_override({"fc", {}, k, {}})), "between 2 and 65536"));
    PlanParameters parameters;
    parameters.k = k;
    CHECK(contains(config_error(net, parameters), "between 2 and 65536"));
  }
  CHECK(contains(config_error(net, with_override({"fc", 0, {}, {}})), "at least 1"));
  CHECK(contains(config_error(net, with_override({"fc", -4, {}, {}})), "at least 1"));
}

TEST_CASE("the JSON says what was decided") {
  const NetworkShapes net = bitfall::testing::resnet18();
  const Plan plan = plan_of(net, {});
  const auto json = nlohmann::json::parse(to_json(plan));
  CHECK(json["preset"] == "resnet18");
  CHECK(json["regime"] == "small");
  CHECK(json["layers"].size() == 21);
  CHECK(json["layers"][0]["quantized"] == false);
  CHECK(contains(json["layers"][0]["reason"], "first convolution"));
  CHECK(json["layers"][1]["name"] == "layer1.0.conv1");
  CHECK(json["layers"][1]["d"] == 9);
  CHECK(json["layers"][1]["k"] == 256);
  CHECK(json["sizes"]["information_bytes"] == plan.sizes.information_bytes());
  CHECK(json["sizes"]["information_mib"].get<double>() == Approx(1.541).margin(5e-4));
  CHECK(to_json(plan) == to_json(plan_of(net, {})));
}

TEST_CASE("the table has a line for every layer and the totals") {
  const std::string table = to_table(plan_of(bitfall::testing::resnet18(), {}));
  CHECK(contains(table, "conv1"));
  CHECK(contains(table, "left alone: first convolution"));
  CHECK(contains(table, "20 of 21 layers quantized (regime small, preset resnet18)"));
  CHECK(contains(table, "1.541 MiB"));
  CHECK(contains(table, "times smaller"));
}

TEST_CASE("regimes by name") {
  CHECK(regime_from_string("small") == Regime::small);
  CHECK(regime_from_string("large") == Regime::large);
  CHECK_THROWS_AS(regime_from_string("medium"), UsageError);
}

TEST_CASE("blocks are whole kernels or rows of them") {
  const auto block = [](const std::vector<std::int64_t>& kernel, Regime regime) {
    NetworkShapes net = small_network();
    Layer layer = net.layers.back();
    layer.name = "other";
    layer.weight_name = "other.weight";
    layer.weight_shape = {256, 72};
    layer.weight_shape.insert(layer.weight_shape.end(), kernel.begin(), kernel.end());
    net.layers.push_back(layer);
    net.tensors.push_back({layer.weight_name, "float32", layer.weight_shape, TensorRole::weight, {}});
    PlanParameters parameters;
    parameters.regime = regime;
    return layer_of(plan_of(net, parameters), "other").d;
  };
  using Kernel = std::vector<std::int64_t>;
  for (const auto& [kernel, small, large] :
       std::vector<std::tuple<Kernel, std::int64_t, std::int64_t>>{{{2, 2}, 4, 8},
                                                                   {{3, 3}, 9, 18},
                                                                   {{5, 5}, 5, 10},
                                                                   {{7, 7}, 7, 14},
                                                                   {{1, 7}, 7, 14},
                                                                   {{7, 1}, 7, 14},
                                                                   {{2, 3}, 6, 12},
                                                                   {{3}, 6, 12},
                                                                   {{2}, 4, 8},
                                                                   {{31}, 4, 8},
                                                                   {{25}, 5, 10},
                                                                   {{3, 3, 3}, 9, 18},
                                                                   {{2, 2, 2}, 8, 16},
                                                                   {{5, 1, 1}, 5, 10},
                                                                   {{11, 11}, 11, 22}}) {
    INFO(nlohmann::json(kernel).dump());
    CHECK(block(kernel, Regime::small) == small);
    CHECK(block(kernel, Regime::large) == large);
  }
}

TEST_CASE("transposed convolutions are planned blockwise, whose k-means weighs rows") {
  NetworkShapes net = small_network();
  net.add_convolution("up", 64, 64, 2).transposed = true;
  PlanParameters parameters;
  for (const Metric metric : {Metric::activation, Metric::blockwise, Metric::full}) {
    parameters.metric = metric;
    CHECK(layer_of(plan_of(net, parameters), "up").metric == Metric::blockwise);
    CHECK(layer_of(plan_of(net, parameters), "body").metric == metric);
  }
  parameters.metric = Metric::euclidean;
  CHECK(layer_of(plan_of(net, parameters), "up").metric == Metric::euclidean);
  CHECK(layer_of(plan_of(net, parameters), "up").d == 4);
}

TEST_CASE("the preset of Mask R-CNN leaves the heads' last layers alone; an override goes before it") {
  NetworkShapes net = small_network();
  net.add_convolution("rpn.head.cls_logits", 64, 64, 1);
  net.add_convolution("roi_heads.mask_predictor.mask_fcn_logits", 91, 256, 1);
  net.add_linear("roi_heads.box_head.fc6", 256, 512);
  net.add_linear("roi_heads.box_head.fc7", 256, 512);
  PlanParameters parameters;
  parameters.preset = "mask-rcnn";
  const Plan plan = plan_of(net, parameters);
  CHECK(plan.preset == "mask-rcnn");
  CHECK_FALSE(layer_of(plan, "rpn.head.cls_logits").quantized);
  CHECK_FALSE(layer_of(plan, "roi_heads.mask_predictor.mask_fcn_logits").quantized);
  CHECK(layer_of(plan, "roi_heads.box_head.fc6").d == 16);
  CHECK(layer_of(plan, "roi_heads.box_head.fc7").d == 4);
  CHECK(layer_of(plan, "roi_heads.box_head.fc7").requested_k == 256);
  PlanOverride entry;
  entry.pattern = "*cls_logits";
  entry.quantize = true;
  parameters.overrides = {entry};
  CHECK(layer_of(plan_of(net, parameters), "rpn.head.cls_logits").quantized);
}
