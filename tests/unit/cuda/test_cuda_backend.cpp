// Whole runs of k-means on the (emulated) device: the bits of the CPU's.
#include "cuda/cuda_backend.hpp"

#include <algorithm>
#include <vector>

#include "../quantization/reference_kmeans.hpp"
#include "../quantization/resnet_shapes.hpp"
#include "bitfall/kmeans.hpp"
#include "bitfall/quantizer.hpp"
#include "catch.hpp"
#include "kernel_device.hpp"
#include "quantization/kmeans_update.hpp"

using namespace bitfall;
using reference::Kind;

namespace {

void require_equal(const KmeansResult& found, const KmeansResult& expected) {
  REQUIRE(found.codes == expected.codes);
  REQUIRE(found.codebook == expected.codebook);
  REQUIRE(found.iterations.size() == expected.iterations.size());
  for (std::size_t i = 0; i < found.iterations.size(); ++i) {
    INFO("iteration " << i);
    REQUIRE(found.iterations[i].objective == expected.iterations[i].objective);
    REQUIRE(found.iterations[i].moved == expected.iterations[i].moved);
    REQUIRE(found.iterations[i].refilled == expected.iterations[i].refilled);
  }
}

void compare(const std::vector<float>& blocks, std::int64_t d, const Whitening& whitening,
             KmeansParameters parameters, std::uint64_t seed) {
  const KmeansResult expected = kmeans(blocks, d, whitening, parameters, Communicator::self());
  const cuda::Device device = kernel_device(seed);
  const cuda::CudaBackend backend(device, nullptr);
  parameters.backend = &backend;
  require_equal(kmeans(blocks, d, whitening, parameters, Communicator::self()), expected);
}

}  // namespace

TEST_CASE("k-means on the device has the CPU's bits, for blocks of every kind") {
  std::mt19937 random(5);
  for (int trial = 0; trial < 3 * int(Kind::kinds); ++trial) {
    const std::size_t n = 1 + random() % 200, d = 1 + random() % 20;
    KmeansParameters parameters;
    parameters.k = 1 + random() % 40;
    parameters.iterations = 30;
    if (trial % 2 == 1) parameters.greedy_limit = 0;
    parameters.seed = random();
    const auto values = reference::make_blocks(Kind(trial % int(Kind::kinds)), n, d, random);
    INFO("kind " << trial % int(Kind::kinds) << ", n " << n << ", d " << d << ", k " << parameters.k);
    compare(values, std::int64_t(d), reference::make_whitening(int(random() % 3), d, random), parameters,
            random());
  }
}

TEST_CASE("blockwise k-means, each position under its own metric, has the CPU's bits") {
  std::mt19937 random(13);
  for (const std::int64_t d : {4, 5, 9}) {
    const std::int64_t rows = 70, positions = 3;
    const auto values =
        reference::make_blocks(Kind::normal, std::size_t(rows * positions), std::size_t(d), random);
    LayerMoments moments;
    moments.pooled.assign(std::size_t(d * d), 0.0);
    std::normal_distribution<double> normal;
    for (std::int64_t j = 0; j < positions; ++j) {
      std::vector<double> gram(std::size_t(d * d), 0.0), row(std::size_t(d), 0.0);
      for (std::int64_t s = 0; s < 3 * d; ++s) {
        for (double& x : row) x = normal(random);
        for (std::size_t a = 0; a < row.size(); ++a)
          for (std::size_t b = 0; b < row.size(); ++b) gram[a * row.size() + b] += row[a] * row[b];
      }
      for (std::size_t i = 0; i < gram.size(); ++i) moments.pooled[i] += gram[i];
      moments.per_position.insert(moments.per_position.end(), gram.begin(), gram.end());
    }
    const WeightBlocks weight{values, rows, d};
    QuantizerParameters parameters;
    parameters.kmeans.k = 19;
    parameters.kmeans.iterations = 6;
    parameters.kmeans.threads = 2;
    const auto quantize = [&] {
      return quantize_blocks(weight, Metric::blockwise, moments, parameters, Communicator::self()).kmeans;
    };
    const KmeansResult expected = quantize();
    const cuda::Device device = kernel_device(random());
    const cuda::CudaBackend backend(device, nullptr);
    parameters.kmeans.backend = &backend;
    INFO("d " << d);
    require_equal(quantize(), expected);
  }
}

TEST_CASE("empty clusters are refilled from the device's codes and errors") {
  std::mt19937 random(3);
  constexpr std::int64_t d = 4, k = 24;
  const auto values = reference::make_blocks(Kind::normal, 300, d, random);
  const Whitening whitening = reference::make_whitening(2, d, random);
  const KmeansInput input{values, d, whitening, measure_blocks(values, d)};
  const TiledBlocks points = tile_blocks(input, 0, input.count(), 1);
  // Some blocks, and codewords so far away that nobody takes them.
  std::vector<float> codebook(values.begin(), values.begin() + k * d);
  std::fill(codebook.begin() + 10 * d, codebook.end(), 1e4f);
  std::vector<float> whitened(codebook.size());
  input.whiten(codebook, whitened);
  CodewordTable table(k, d);
  table.set(whitened);
  const cuda::Device device = kernel_device(9);
  const cuda::CudaBackend backend(device, nullptr);
  Clusters host(input, points, points.largest_norm2, k, 1),
      on_device(input, points, points.largest_norm2, k, 1, backend);
  std::vector<std::vector<float>> codebooks;
  for (Clusters* clusters : {&host, &on_device}) {
    clusters->assign(table, Communicator::self());
    codebooks.push_back(codebook);
    CHECK(refill_empty_clusters(input, points, *clusters, codebooks.back(), Communicator::self()) == k - 10);
    for (std::int64_t c = 0; c < 10; ++c)
      clusters->mean(c, std::span(codebooks.back()).subspan(static_cast<std::size_t>(c * d), d));
  }
  CHECK(codebooks[0] == codebooks[1]);
}

TEST_CASE("E- and M-steps of ten layers of ResNet-50, rows left out where there are too many") {
  const testing::NetworkShapes network = testing::bottleneck_resnet();
  std::mt19937 random(7);
  int layers = 0;
  for (const char* name :
       {"layer1.0.conv1", "layer1.0.conv2", "layer1.0.conv3", "layer2.0.conv2", "layer2.0.downsample.0",
        "layer3.0.conv1", "layer3.5.conv2", "layer4.0.conv2", "layer4.2.conv3", "fc"}) {
    const auto layer = std::ranges::find(network.layers, name, &Layer::name);
    REQUIRE(layer != network.layers.end());
    const bool spatial = layer->weight_shape.size() == 4 && layer->weight_shape[2] == 3;
    const std::int64_t d = spatial ? 9 : 4;
    const std::int64_t n = std::min<std::int64_t>(layer->rows() * layer->columns() / d, 4096);
    KmeansParameters parameters;
    parameters.k = std::string(name) == "fc" ? 512 : 256;
    parameters.iterations = 2;
    const auto values = reference::make_blocks(Kind::normal, std::size_t(n), std::size_t(d), random);
    INFO(name);
    compare(values, d, reference::make_whitening(int(d), std::size_t(d), random), parameters, random());
    ++layers;
  }
  CHECK(layers == 10);
}
