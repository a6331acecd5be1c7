// The same bytes on any number of ranks as on one.
#include <array>
#include <cstdint>
#include <random>
#include <vector>

#include "../unit/quantization/full_oracle.hpp"
#include "../unit/quantization/reference_kmeans.hpp"
#include "bitfall/communicator.hpp"
#include "bitfall/errors.hpp"
#include "bitfall/kmeans.hpp"
#include "bitfall/quantized_layer.hpp"
#include "bitfall/quantizer.hpp"
#include "catch.hpp"
#include "quantization/init.hpp"
#include "quantization/kmeans_update.hpp"

using namespace bitfall;
using reference::Kind;

namespace {

/// The share of the world's rank, as kmeans() deals it.
TiledBlocks own_points(const KmeansInput& input, const Communicator& world) {
  const auto groups = world.share((input.count() + group_points - 1) / group_points);
  const std::int64_t first = std::min(groups.first * group_points, input.count());
  return tile_blocks(input, first, std::min(groups.last * group_points, input.count()) - first, 1);
}

void compare(Kind kind, std::size_t n, std::size_t d, const KmeansParameters& parameters, int rank,
             std::mt19937& random) {
  const Communicator world = Communicator::world();
  const auto values = reference::make_blocks(kind, n, d, random);
  const Whitening whitening = reference::make_whitening(rank, d, random);
  const auto width = static_cast<std::int64_t>(d);
  const KmeansResult alone = kmeans(values, width, whitening, parameters, Communicator::self());
  const KmeansResult shared = kmeans(values, width, whitening, parameters, world);
  INFO("kind " << int(kind) << ", n " << n << ", d " << d << ", k " << parameters.k);
  REQUIRE(shared.k == alone.k);
  REQUIRE(shared.codebook == alone.codebook);
  REQUIRE(shared.codes == alone.codes);
  REQUIRE(shared.iterations.size() == alone.iterations.size());
  for (std::size_t i = 0; i < alone.iterations.size(); ++i) {
    REQUIRE(shared.iterations[i].objective == alone.iterations[i].objective);
    REQUIRE(shared.iterations[i].moved == alone.iterations[i].moved);
    REQUIRE(shared.iterations[i].refilled == alone.iterations[i].refilled);
  }
}

}  // namespace

TEST_CASE("k-means on all ranks gives the bytes of one rank, for blocks of every kind") {
  std::mt19937 random(21);
  for (int trial = 0; trial < 5 * int(Kind::kinds); ++trial) {
    KmeansParameters parameters;
    parameters.k = 1 + random() % 60;
    parameters.iterations = 12;
    parameters.seed = random();
    parameters.threads = 1 + trial % 2;
    if (trial % 3 == 0) parameters.greedy_limit = 0;
    if (trial % 4 == 1) {  // codes that know what they cost
      parameters.bit_price = 1e-4;
      parameters.codeword_bits = 40;
    }
    const std::size_t n = 1 + random() % 700, d = 1 + random() % 20;  // also fewer groups than ranks
    compare(static_cast<Kind>(trial % int(Kind::kinds)), n, d, parameters, trial % 3, random);
  }
}

TEST_CASE("k-means large enough to share k-means++ gives the bytes of one rank") {
  std::mt19937 random(22);
  KmeansParameters parameters;
  parameters.k = 256;
  parameters.iterations = 2;
  for (const std::int64_t greedy_limit : {std::int64_t{0}, std::int64_t{1} << 40}) {
    parameters.greedy_limit = greedy_limit;
    compare(Kind::normal, 60000, 9, parameters, 2, random);  // 2^27.04 products
  }
}

TEST_CASE("bounds and boxes, which each rank has for its own points, change no byte") {
  std::mt19937 random(24);
  KmeansParameters parameters;
  parameters.iterations = 14;  // bounds are tried in the sixth
  parameters.k = 128;
  compare(Kind::normal, 7000, 9, parameters, 2, random);
  parameters.k = 512;
  compare(Kind::normal, 9000, 4, parameters, 0, random);  // on four ranks too few points for boxes
}

TEST_CASE("k-means++ shared by all ranks chooses the blocks that one rank chooses") {
  const Communicator world = Communicator::world();
  std::mt19937 random(23);
  for (int trial = 0; trial < 3 * int(Kind::kinds); ++trial) {
    const auto kind = static_cast<Kind>(trial % int(Kind::kinds));
    const std::size_t n = 1 + random() % 600, d = 1 + random() % 12;
    const auto values = reference::make_blocks(kind, n, d, random);
    const auto width = static_cast<std::int64_t>(d);
    const Whitening whitening = reference::make_whitening(trial % 3, d, random);
    const KmeansInput input{values, width, whitening, measure_blocks(values, width)};
    const std::int64_t k = count_distinct(values, width, 1 + static_cast<std::int64_t>(random() % 20));
    const TiledBlocks all = tile_blocks(input, 0, input.count(), 1);
    const TiledBlocks own = own_points(input, world);
    for (const int candidates : {1, 3}) {
      const InitParameters parameters{k, random(), 0, candidates, 1};
      const auto alone = choose_initial_blocks(input, all, parameters, Communicator::self());
      REQUIRE(choose_initial_blocks(input, own, parameters, world) == alone);
    }
  }
}

TEST_CASE("refills agree on all ranks with one rank's") {
  const Communicator world = Communicator::world();
  std::mt19937 random(24);
  std::int64_t refilled = 0;
  for (int trial = 0; trial < 4 * int(Kind::kinds); ++trial) {
    const auto kind = static_cast<Kind>(trial % int(Kind::kinds));
    const std::size_t n = 1 + random() % 600, d = 1 + random() % 6;
    const auto values = reference::make_blocks(kind, n, d, random);
    const auto width = static_cast<std::int64_t>(d);
    const Whitening whitening = Whitening::identity(width);
    const KmeansInput input{values, width, whitening, measure_blocks(values, width)};
    const std::int64_t k = count_distinct(values, width, 40);
    const TiledBlocks all = tile_blocks(input, 0, input.count(), 1);
    const TiledBlocks own = own_points(input, world);
    CodewordTable table(k, width);
    table.set(std::vector<float>(static_cast<std::size_t>(k * width), 0.0f));  // all empty but one
    Clusters alone(input, all, all.largest_norm2, k, 1), shared(input, own, all.largest_norm2, k, 1);
    alone.assign(table, Communicator::self());
    shared.assign(table, world);
    std::vector<float> codebook(static_cast<std::size_t>(k * width), 0.0f), expected(codebook);
    const std::int64_t count = refill_empty_clusters(input, all, alone, expected, Communicator::self());
    REQUIRE(refill_empty_clusters(input, own, shared, codebook, world) == count);
    REQUIRE(codebook == expected);
    for (std::int64_t code = 0; code < k; ++code) REQUIRE(shared.count(code) == alone.count(code));
    refilled += count;
  }
  CHECK(refilled > 100);
}

TEST_CASE("bad blocks are refused on every rank") {
  KmeansParameters parameters;
  parameters.k = 2;
  const Whitening identity = Whitening::identity(1);
  CHECK_THROWS_AS(kmeans(std::vector<float>{1, 2, 1e6f}, 1, identity, parameters, Communicator::world()),
                  DataError);
}

TEST_CASE("annealing, restarts and re-assigned codes give the bytes of one rank") {
  std::mt19937 random(29);
  const Communicator world = Communicator::world();
  const oracle::Case given(70, 6, 4, 0, true, random);
  QuantizerParameters parameters;
  parameters.kmeans = {.k = 24, .iterations = 20, .seed = 9, .threads = 2, .anneal = 0.5};
  parameters.restarts = 3;
  for (const Metric metric : {Metric::activation, Metric::blockwise, Metric::full}) {
    INFO(to_string(metric));
    const auto alone =
        quantize_blocks(given.blocks(), metric, given.moments, parameters, Communicator::self()).kmeans;
    const auto shared = quantize_blocks(given.blocks(), metric, given.moments, parameters, world).kmeans;
    REQUIRE(shared.codes == alone.codes);
    REQUIRE(shared.codebook == alone.codebook);
    std::vector<float> codebook;
    for (const std::uint16_t half : alone.codebook) codebook.push_back(1.1F * half_to_float(half));
    const auto expected = reassign_codes(given.blocks(), metric, given.moments, codebook, alone.codes,
                                         parameters, Communicator::self());
    const auto found =
        reassign_codes(given.blocks(), metric, given.moments, codebook, alone.codes, parameters, world);
    REQUIRE(found.codes == expected.codes);
    REQUIRE(found.before == expected.before);
    REQUIRE(found.after == expected.after);
  }
}

TEST_CASE("the finer metrics give the bytes of one rank") {
  std::mt19937 random(23);
  const Communicator world = Communicator::world();
  std::int64_t dropped = 0;
  for (const auto [rows, positions, d, k] :
       {std::array<std::size_t, 4>{200, 5, 9, 40}, {65, 70, 4, 64}, {3, 2, 2, 2}, {1, 1, 4, 1}}) {
    oracle::Case given(rows, positions, d, 0, true, random);
    std::normal_distribution<double> normal;
    for (const int variant : {0, 1, 2}) {
      const bool matched = variant == 1, priced = variant == 2;
      if (matched)
        for (std::size_t i = 0; i < given.weight.size(); ++i)
          given.moments.wanted_outputs.push_back(normal(random));
      QuantizerParameters parameters;
      if (priced) {
        given.moments.row_weights.clear();
        parameters.relative_bit_price = 1e-5;
        parameters.kmeans.codeword_bits = 100;
      }
      parameters.kmeans.k = std::int64_t(k);
      parameters.kmeans.threads = 2;
      for (const Metric metric : {Metric::blockwise, Metric::full}) {
        const auto alone =
            quantize_blocks(given.blocks(), metric, given.moments, parameters, Communicator::self());
        const auto shared = quantize_blocks(given.blocks(), metric, given.moments, parameters, world);
        INFO(to_string(metric) << " rows " << rows << " matched " << matched << " priced " << priced);
        if (priced) dropped += std::int64_t(k) - alone.kmeans.k;
        REQUIRE(shared.kmeans.codes == alone.kmeans.codes);
        REQUIRE(shared.kmeans.codebook == alone.kmeans.codebook);
        REQUIRE(shared.energy == alone.energy);
        REQUIRE(shared.kmeans.iterations.size() == alone.kmeans.iterations.size());
        for (std::size_t i = 0; i < alone.kmeans.iterations.size(); ++i)
          REQUIRE(shared.kmeans.iterations[i].objective == alone.kmeans.iterations[i].objective);
      }
    }
  }
  CHECK(dropped > 0);
}
