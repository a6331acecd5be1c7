// The parts of k-means, each against its plain counterpart.
#include <algorithm>
#include <cfloat>
#include <cstdint>
#include <random>
#include <set>
#include <vector>

#include "catch.hpp"
#include "hwy/highway.h"
#include "quantization/estep.hpp"
#include "quantization/init.hpp"
#include "quantization/init_distance.hpp"
#include "quantization/kmeans_update.hpp"
#include "reference_kmeans.hpp"

using namespace bitfall;
using reference::Block;
using reference::Kind;

namespace {

std::vector<float> flatten(const std::vector<Block>& blocks) {
  std::vector<float> values;
  for (const Block& block : blocks) values.insert(values.end(), block.begin(), block.end());
  return values;
}

std::vector<Block> random_codebook(const reference::Points& points, std::size_t k, std::mt19937& random) {
  std::vector<Block> codebook;
  for (std::size_t c = 0; c < k; ++c) {
    codebook.push_back(points.blocks[random() % points.blocks.size()]);
    if (random() % 3)
      for (float& value : codebook.back()) value *= 0.75f;
  }
  return codebook;
}

}  // namespace

TEST_CASE(
    "the E-step equals its scalar twin for every d, k and instruction set; ties go to the lowest code") {
  for (const std::int64_t target : estep_targets()) {
    hwy::SetSupportedTargetsForTest(target);
    std::mt19937 random(11);
    for (std::size_t d = 1; d <= 40; ++d)
      for (const std::size_t k : {1u, 2u, 7u, 8u, 9u, 16u, 100u})
        for (const Kind kind : {Kind::normal, Kind::grid}) {
          const auto values = reference::make_blocks(kind, 130, d, random);
          const Whitening identity = Whitening::identity(std::int64_t(d));
          const auto points = reference::make_points(values, d, identity);
          const auto codebook = random_codebook(points, k, random);  // with twins: scores tie
          std::vector<Block> whitened;
          for (const Block& codeword : codebook)
            whitened.push_back(reference::whiten(codeword, points.exponent, identity));
          const auto expected = reference::assign(points, whitened);

          const KmeansInput input{values, std::int64_t(d), identity, measure_blocks(values, std::int64_t(d))};
          const TiledBlocks tiled = tile_blocks(input, 0, 130, 1);
          CodewordTable table{std::int64_t(k), std::int64_t(d)};
          table.set(flatten(whitened));
          std::vector<std::int32_t> codes(192);
          std::vector<float> errors(192);
          assign_groups(tiled.tiles.data(), tiled.groups(), table, codes.data(), errors.data());
          INFO("target " << hwy::TargetName(target) << ", d " << d << ", k " << k);
          for (std::size_t i = 0; i < 130; ++i) {
            REQUIRE(std::size_t(codes[i]) == expected.codes[i]);
            REQUIRE(errors[i] == expected.errors[i]);
          }
        }
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST_CASE("the passes of k-means++ equal plain loops on every instruction set") {
  for (const std::int64_t target : estep_targets()) {
    hwy::SetSupportedTargetsForTest(target);
    std::mt19937 random(12);
    for (std::size_t d = 1; d <= 20; ++d)
      for (const Kind kind : {Kind::normal, Kind::wide, Kind::zeros}) {
        constexpr std::size_t n = 200;
        const auto values = reference::make_blocks(kind, n, d, random);
        const Whitening identity = Whitening::identity(std::int64_t(d));
        const auto points = reference::make_points(values, d, identity);
        const KmeansInput input{values, std::int64_t(d), identity, measure_blocks(values, std::int64_t(d))};
        const TiledBlocks tiled = tile_blocks(input, 0, n, 1);
        REQUIRE(tiled.largest_norm2 == points.largest_norm2);
        const FixedPoint scale = distance_scale(4.1 * tiled.largest_norm2, n);
        AlignedVector<float> distances(256, 0.0f);
        std::fill_n(distances.begin(), n, FLT_MAX);
        std::vector<float> nearest(n, FLT_MAX);
        std::vector<std::int64_t> sums(4);
        for (const std::size_t chosen : {random() % n, random() % n, random() % n}) {
          const auto codeword = points.whitened[chosen];
          for (std::size_t i = 0; i < n; ++i)
            nearest[i] = std::min(nearest[i], reference::squared_distance(points.whitened[i], codeword));
          std::int64_t total = 0;
          for (const float distance : nearest) total += scale.to_integer(double(distance));
          if (chosen % 2) {  // what it would give, then really
            std::vector<std::int64_t> sum{5};
            add_candidate_sums(tiled.tiles.data(), 4, std::int64_t(d), codeword.data(), scale,
                               distances.data(), sum);
            if (distances[0] < FLT_MAX) REQUIRE(sum.front() == total + 5);
          }
          update_distances(tiled.tiles.data(), 4, std::int64_t(d), codeword.data(), scale, distances.data(),
                           sums.data());
          REQUIRE(std::equal(nearest.begin(), nearest.end(), distances.begin()));
          REQUIRE(sums[0] + sums[1] + sums[2] + sums[3] == total);
        }
      }
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST_CASE("k-means++ chooses the reference's blocks, plain and greedy, on 1 to 3 threads") {
  std::mt19937 random(13);
  for (int trial = 0; trial < 60; ++trial) {
    const auto kind = static_cast<Kind>(trial % int(Kind::kinds));
    const std::size_t n = 1 + random() % 400, d = 1 + random() % 12;
    const auto values = reference::make_blocks(kind, n, d, random);
    const Whitening whitening = reference::make_whitening(int(random() % 3), d, random);
    const auto points = reference::make_points(values, d, whitening);
    const std::set<Block> distinct(points.blocks.begin(), points.blocks.end());
    const std::size_t k = 1 + random() % std::min<std::size_t>(distinct.size(), 30);
    const KmeansInput input{values, std::int64_t(d), whitening, measure_blocks(values, std::int64_t(d))};
    const TiledBlocks tiled = tile_blocks(input, 0, std::int64_t(n), 2);
    for (const int candidates : {1, 4})
      for (int threads = 1; threads <= 3; ++threads) {
        const InitParameters parameters{std::int64_t(k), random(), random(), candidates, threads};
        const auto expected = reference::choose(points, k, candidates, parameters.seed, parameters.stream);
        const auto found = choose_initial_blocks(input, tiled, parameters, Communicator::self());
        INFO("kind " << int(kind) << ", n " << n << ", d " << d << ", k " << k);
        REQUIRE(std::equal(found.begin(), found.end(), expected.begin(), expected.end(),
                           [](std::int64_t a, std::size_t b) { return a == std::int64_t(b); }));
      }
  }
}

TEST_CASE("k-means++ finds every one of well separated clusters, and different seeds choose differently") {
  std::mt19937 random(14);
  const auto values = reference::make_blocks(Kind::clustered, 700, 4, random);
  const Whitening identity = Whitening::identity(4);
  const KmeansInput input{values, 4, identity, measure_blocks(values, 4)};
  const TiledBlocks tiled = tile_blocks(input, 0, 700, 1);
  std::set<std::vector<std::int64_t>> choices;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const auto chosen = choose_initial_blocks(input, tiled, {7, seed, 0, 4, 1}, Communicator::self());
    std::set<std::int64_t> clusters;
    for (const std::int64_t block : chosen) clusters.insert(block % 7);
    CHECK(clusters.size() == 7);
    choices.insert(chosen);
  }
  CHECK(choices.size() == 10);
}

TEST_CASE("the next block is drawn in proportion to its squared distance") {
  // Block 0 at 0, 1 at 1, 2 at 2: once 0 is chosen, 2 must follow four times as often as 1.
  const std::vector<float> values{0, 1, 2};
  const Whitening identity = Whitening::identity(1);
  const KmeansInput input{values, 1, identity, measure_blocks(values, 1)};
  const TiledBlocks tiled = tile_blocks(input, 0, 3, 1);
  int after_zero = 0, two_after_zero = 0;
  for (std::uint64_t seed = 0; seed < 30000; ++seed) {
    const auto chosen = choose_initial_blocks(input, tiled, {2, seed, 1, 1, 1}, Communicator::self());
    if (chosen[0] != 0) continue;
    ++after_zero;
    two_after_zero += chosen[1] == 2;
  }
  CHECK(after_zero > 9000);
  CHECK(double(two_after_zero) / after_zero == Approx(0.8).margin(0.02));
}

TEST_CASE("sums that follow the moves, and refills, equal the reference's") {
  std::mt19937 random(15);
  std::int64_t refilled = 0;
  for (int trial = 0; trial < 60; ++trial) {
    const auto kind = static_cast<Kind>(trial % int(Kind::kinds));
    const std::size_t n = 1 + random() % 400, d = 1 + random() % 12;
    const auto values = reference::make_blocks(kind, n, d, random);
    const Whitening whitening = reference::make_whitening(int(random() % 3), d, random);
    const auto points = reference::make_points(values, d, whitening);
    const std::set<Block> distinct(points.blocks.begin(), points.blocks.end());
    const std::size_t k = 1 + random() % std::min<std::size_t>(distinct.size(), 60);
    const KmeansInput input{values, std::int64_t(d), whitening, measure_blocks(values, std::int64_t(d))};
    const TiledBlocks tiled = tile_blocks(input, 0, std::int64_t(n), 2);
    Clusters clusters(input, tiled, tiled.largest_norm2, std::int64_t(k), 2);
    CodewordTable table{std::int64_t(k), std::int64_t(d)};
    // A new, bad codebook three times over: everything moves, many clusters are empty.
    for (int round = 0; round < 3; ++round) {
      std::vector<Block> expected = random_codebook(points, k, random), whitened;
      for (const Block& codeword : expected)
        whitened.push_back(reference::whiten(codeword, points.exponent, whitening));
      std::vector<float> found = flatten(expected);
      const auto assignment = reference::assign(points, whitened);
      const std::int64_t expected_refills = reference::update(points, assignment, expected);
      table.set(flatten(whitened));
      clusters.assign(table, Communicator::self());
      const std::int64_t refills = refill_empty_clusters(input, tiled, clusters, found, Communicator::self());
      for (std::size_t c = 0; c < k; ++c)
        if (clusters.count(std::int64_t(c)) > 0)
          clusters.mean(std::int64_t(c), std::span(found).subspan(c * d, d));
      INFO("kind " << int(kind) << ", n " << n << ", d " << d << ", k " << k);
      REQUIRE(refills == expected_refills);
      REQUIRE(found == flatten(expected));
      refilled += refills;
    }
  }
  CHECK(refilled > 100);
}

TEST_CASE("an E-step after a refill leaves no cluster empty where blocks are apart") {
  std::mt19937 random(16);
  const auto values = reference::make_blocks(Kind::normal, 300, 4, random);
  const Whitening identity = Whitening::identity(4);
  const KmeansInput input{values, 4, identity, measure_blocks(values, 4)};
  const TiledBlocks tiled = tile_blocks(input, 0, 300, 1);
  Clusters clusters(input, tiled, tiled.largest_norm2, 300, 1);
  CodewordTable table(300, 4);
  std::vector<float> codebook(1200, 0.0f), whitened(1200);
  for (int round = 0; round < 2; ++round) {
    input.whiten(codebook, whitened);
    table.set(whitened);
    clusters.assign(table, Communicator::self());
    // All 300 blocks sit in cluster 0 first; 299 clusters are refilled at once, and then none is empty.
    CHECK(refill_empty_clusters(input, tiled, clusters, codebook, Communicator::self()) ==
          (round == 0 ? 299 : 0));
    for (std::int64_t c = 0; c < 300; ++c)
      if (clusters.count(c) > 0)
        clusters.mean(c, std::span(codebook).subspan(static_cast<std::size_t>(c * 4), 4));
  }
}

TEST_CASE("distinct blocks are counted up to the limit") {
  const std::vector<float> values{1, 2, 1, 2, 0, 3, -0.0f, 3, 5, 5};
  CHECK(count_distinct(values, 2, 100) == 3);
  CHECK(count_distinct(values, 2, 2) == 2);
  CHECK(count_distinct(values, 1, 100) == 5);
}
