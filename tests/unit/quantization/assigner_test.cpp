// Filters, bounds and boxes: the codes and errors of the plain E-step for blocks of every kind, and real
// savings.
#include <bit>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "catch.hpp"
#include "hwy/highway.h"
#include "quantization/box_order.hpp"
#include "quantization/estep_bounds.hpp"
#include "quantization/estep_filter.hpp"
#include "quantization/faster_way.hpp"
#include "quantization/kmeans_update.hpp"
#include "reference_kmeans.hpp"

using namespace bitfall;
using reference::Kind;

namespace {

struct Shape {
  std::int64_t n, d, k;
};

struct TestLayer {
  std::vector<float> values;
  Whitening whitening;
  KmeansInput input;
  TiledBlocks points;

  TestLayer(Kind kind, const Shape& shape, int rank, std::mt19937& random)
      : values(reference::make_blocks(kind, std::size_t(shape.n), std::size_t(shape.d), random)),
        whitening(reference::make_whitening(rank, std::size_t(shape.d), random)),
        input{values, shape.d, whitening, measure_blocks(values, shape.d)},
        points(tile_blocks(input, 0, shape.n, 1)) {}
  TestLayer(const TestLayer&) = delete;
  TestLayer& operator=(const TestLayer&) = delete;

  [[nodiscard]] std::vector<float> some_blocks(std::int64_t k, std::mt19937& random) const {
    std::vector<float> codebook;
    for (std::int64_t c = 0; c < k; ++c) {
      const auto block = input.block(std::int64_t(random() % std::uint64_t(input.count())));
      codebook.insert(codebook.end(), block.begin(), block.end());
    }
    return codebook;
  }
  void set(CodewordTable& table, const std::vector<float>& codebook) const {
    std::vector<float> whitened(codebook.size());
    input.whiten(codebook, whitened);
    table.set(whitened);
  }
};

/// Lloyd's iterations on both back ends, with leaps of single codewords and a codebook of another kind
/// between.
void compare(Kind kind, const Shape& shape, int threads, std::mt19937& random) {
  INFO("kind " << int(kind) << ", n " << shape.n << ", d " << shape.d << ", k " << shape.k << ", threads "
               << threads);
  const TestLayer layer(kind, shape, int(random() % 3), random);
  const double norm2 = layer.points.largest_norm2;
  Clusters plain(layer.input, layer.points, norm2, shape.k, 1, plain_cpu_backend());
  Clusters fast(layer.input, layer.points, norm2, shape.k, threads, cpu_backend());
  CodewordTable table(shape.k, shape.d);
  std::vector<float> codebook = layer.some_blocks(shape.k, random);
  const auto d = std::size_t(shape.d);
  for (int round = 0; round < 9; ++round) {
    INFO("round " << round);
    layer.set(table, codebook);
    const AssignmentTotals expected = plain.assign(table, Communicator::self());
    const AssignmentTotals found = fast.assign(table, Communicator::self());
    REQUIRE(found.objective == expected.objective);
    REQUIRE(found.moved == expected.moved);
    const auto same = [](auto a, auto b) { return std::equal(a.begin(), a.end(), b.begin(), b.end()); };
    REQUIRE(same(fast.codes(), plain.codes()));
    REQUIRE(same(fast.errors(), plain.errors()));
    for (std::int64_t c = 0; c < shape.k; ++c) {
      REQUIRE(fast.count(c) == plain.count(c));
      if (plain.count(c) > 0) plain.mean(c, std::span(codebook).subspan(std::size_t(c) * d, d));
    }
    if (round == 3) codebook = layer.some_blocks(shape.k, random);
    if (round == 5)
      for (std::size_t j = 0; j < d; ++j) codebook[random() % std::uint64_t(shape.k) * d + j] *= 3;
  }
}

}  // namespace

TEST_CASE("the accelerated back end has the bits of the plain one on every instruction set") {
  std::mt19937 random(31);
  for (const std::int64_t target : filter_targets()) {
    hwy::SetSupportedTargetsForTest(target);
    INFO("target " << hwy::TargetName(target));
    for (int kind = 0; kind < int(Kind::kinds); ++kind)
      for (const std::int64_t d : {4, 8, 9, 16, 18})
        compare(Kind(kind), {700 + std::int64_t(random() % 200), d, 64 + std::int64_t(random() % 30)}, 1,
                random);
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST_CASE("the accelerated back end has the bits of the plain one on larger layers and several threads") {
  std::mt19937 random(32);
  for (const Shape& shape :
       {Shape{9000, 9, 256}, {6000, 18, 200}, {4200, 4, 512}, {9001, 4, 1000}, {7000, 4, 256}})
    for (const Kind kind : {Kind::normal, Kind::wide, Kind::sparse, Kind::outlier, Kind::grid})
      compare(kind, shape, 1 + int(random() % 3), random);
}

TEST_CASE("the filter decides nearly all points, also when h_c is no norm") {
  std::mt19937 random(33);
  for (const std::int64_t d : {4, 8, 9, 16, 18}) {
    const TestLayer layer(Kind::normal, {4096, d, 256}, 0, random);
    CodewordTable table(256, d);
    layer.set(table, layer.some_blocks(256, random));
    std::normal_distribution<float> normal(0, 0.3f);
    for (const bool with_rates : {false, true}) {
      if (with_rates)
        for (std::int64_t c = 0; c < 256; ++c)
          table.rows[std::size_t(c * (d + 1))] = c % 17 == 5 ? FLT_MAX : table.half_norm(c) + normal(random);
      FilterTable filter(256, d);
      filter.set(table);
      FilterScratch scratch;
      std::vector<std::int32_t> expected(4096), found(4096);
      std::vector<float> expected_errors(4096), errors(4096), others(4096);
      assign_groups(layer.points.tiles.data(), 64, table, expected.data(), expected_errors.data());
      assign_groups_filtered(layer.points.tiles.data(), 64, table, filter, scratch, found.data(),
                             errors.data(), others.data());
      INFO("d " << d << ", with rates " << with_rates);
      REQUIRE(found == expected);
      REQUIRE(errors == expected_errors);
      CHECK(scratch.rechecked < 4096 / 10);
      // The bound of the other codewords holds, and is of use.
      std::int64_t useful = 0;
      for (std::int64_t i = 0; i < 4096; ++i) {
        double least = 1e300, own = 0;
        for (std::int64_t c = 0; c < 256; ++c) {
          double score = double(table.half_norm(c));
          const float* point = layer.points.tiles.data() + i / 16 * d * 16 + i % 16;
          for (std::int64_t j = 0; j < d; ++j)
            score -= double(point[j * 16]) * double(table.codeword(c)[std::size_t(j)]);
          if (c == found[std::size_t(i)])
            own = score;
          else
            least = std::min(least, score);
        }
        REQUIRE(double(others[std::size_t(i)]) <= least + 1e-5 * (1 + std::fabs(least)));
        useful += double(others[std::size_t(i)]) > own;
      }
      CHECK(useful > 4096 * 9 / 10);
    }
  }
}

TEST_CASE("bounds keep most points of a codebook that hardly moves, boxes leave out most codewords") {
  std::mt19937 random(34);
  const TestLayer layer(Kind::normal, {4096, 9, 64}, 0, random);
  CodewordTable table(64, 9);
  std::vector<float> codebook = layer.some_blocks(64, random);
  layer.set(table, codebook);
  FilterTable filter(64, 9);
  filter.set(table);
  FilterScratch scratch;
  std::vector<std::int32_t> codes(4096);
  std::vector<float> errors(4096), others(4096), lower(64);
  assign_groups_filtered(layer.points.tiles.data(), 64, table, filter, scratch, codes.data(), errors.data(),
                         others.data());
  const auto before = table.rows;
  for (float& value : codebook) value *= 1.001f;
  layer.set(table, codebook);
  CodewordMoves moves;
  moves.set(before, table);
  std::int64_t open = 0;
  for (std::int64_t g = 0; g < 64; ++g) {
    bounds_from_scores(layer.points.group(g), table, others.data() + g * 64, lower.data());
    open += std::popcount(check_bounds(layer.points.group(g), table, moves, codes.data() + g * 64,
                                       errors.data() + g * 64, lower.data()));
  }
  CHECK(open < 4096 / 10);

  const TestLayer flat(Kind::normal, {16384, 4, 1024}, 0, random);
  CodewordTable many(1024, 4);
  flat.set(many, flat.some_blocks(1024, random));
  const BoxOrder boxes = order_by_boxes(flat.points);
  BoxScratch box;
  prepare_boxes(many, box);
  std::vector<std::int32_t> box_codes(16384);
  std::vector<float> box_errors(16384);
  assign_boxes(boxes, 0, 256, many, box, box_codes.data(), box_errors.data());
  CHECK(box.offered < std::int64_t{16384} * 1024 / 5);
}

TEST_CASE("the way that is faster lately is taken, whatever a single piece took") {
  FasterWay ways;
  double seconds[2] = {3, 2};
  const auto share_of_second = [&](int pieces) {
    int second = 0;
    for (int i = 0; i < pieces; ++i) {
      const int way = ways.choose();
      second += way;
      ways.took(way, seconds[way]);
    }
    return double(second) / pieces;
  };
  CHECK(share_of_second(640) > 0.95);
  ways.took(1, 1000);  // the thread did not run
  CHECK(share_of_second(64) > 0.9);
  seconds[1] = 4;
  CHECK(share_of_second(640) < 0.1);
  seconds[1] = 2;
  CHECK(share_of_second(640) > 0.8);
}
