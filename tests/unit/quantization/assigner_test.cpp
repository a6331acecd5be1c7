// The filter: the codes and errors of the plain E-step for blocks of every kind, and real savings.
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <random>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "hwy/highway.h"
#include "quantization/estep_filter.hpp"
#include "quantization/kmeans_update.hpp"
#include "quantization/point_order.hpp"
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
      : TestLayer(reference::make_blocks(kind, std::size_t(shape.n), std::size_t(shape.d), random), shape,
                  rank, random) {}
  TestLayer(std::vector<float> blocks, const Shape& shape, int rank, std::mt19937& random)
      : values(std::move(blocks)),
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
void compare(const TestLayer& layer, const Shape& shape, int threads, std::mt19937& random) {
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

void compare(Kind kind, const Shape& shape, int threads, std::mt19937& random) {
  INFO("kind " << int(kind) << ", n " << shape.n << ", d " << shape.d << ", k " << shape.k << ", threads "
               << threads);
  compare(TestLayer(kind, shape, int(random() % 3), random), shape, threads, random);
}

}  // namespace

TEST_CASE("the accelerated back end has the bits of the plain one where squares are denormal numbers") {
  std::mt19937 random(36);
  for (const std::int64_t d : {4, 9, 18})
    for (const float tiny : {1e-19F, 3e-22F, 1e-22F, 1e-30F}) {
      INFO("d " << d << ", tiny " << tiny);
      const Shape shape{1500, d, 120};
      std::vector<float> values;
      for (std::int64_t i = 0; i < shape.n * d; ++i)
        values.push_back((i < d ? 1 : tiny) * float(int(random() % 9) - 4));
      values[0] = 1.5F;
      compare(TestLayer(values, shape, 0, random), shape, 1, random);
    }
}

TEST_CASE("the accelerated back end has the bits of the plain one on every instruction set") {
  std::mt19937 random(31);
  for (const std::int64_t target : filter_targets()) {
    hwy::SetSupportedTargetsForTest(target);
    INFO("target " << hwy::TargetName(target));
    for (int kind = 0; kind < int(Kind::kinds); ++kind)
      for (const std::int64_t d : {4, 8, 9, 16, 18})
        compare(Kind(kind), {700 + std::int64_t(random() % 200), d, 96 + std::int64_t(random() % 30)}, 1,
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

TEST_CASE("the filter leaves few groups of codewords open, also when h_c is no norm") {
  std::mt19937 random(33);
  for (const std::int64_t d : {4, 8, 9, 16, 18}) {
    const TestLayer layer(Kind::normal, {4096, d, 256}, 0, random);
    const OrderedPoints ordered(layer.points, 2);
    const TiledBlocks& points = ordered.points;
    CodewordTable table(256, d);
    const std::vector<float> codebook = layer.some_blocks(256, random);
    std::vector<float> whitened(codebook.size());
    layer.input.whiten(codebook, whitened);
    for (const bool with_penalties : {false, true}) {
      std::vector<float> penalties;
      if (with_penalties)
        for (int c = 0; c < 256; ++c)
          penalties.push_back(c % 17 == 5 ? FLT_MAX : 0.3f * std::generate_canonical<float, 24>(random));
      table.set(whitened, penalties);
      FilterTable filter(256, d);
      filter.set(table);
      FilterScratch scratch;
      std::vector<std::int32_t> expected(4096), codes(4096);
      std::vector<float> expected_errors(4096), errors(4096);
      assign_groups(points.tiles.data(), 64, table, expected.data(), expected_errors.data());
      // Whatever codewords it starts from: dropped ones, the nearest ones, any.
      for (const int start : {5, 0, -1}) {
        for (std::size_t i = 0; i < codes.size(); ++i)
          codes[i] = start > 0 ? start : start == 0 ? expected[i] : std::int32_t(random() % 256);
        scratch.opened = 0;
        assign_groups_filtered(ordered, 0, 64, table, filter, scratch, codes.data(), errors.data());
        INFO("d " << d << ", penalties " << with_penalties << ", start " << start);
        REQUIRE(codes == expected);
        REQUIRE(errors == expected_errors);
        if (start == 0) CHECK(scratch.opened < 4096);  // of 16 for each point
      }
    }
  }
}

TEST_CASE("a table in bytes bounds every score from below and has room for it") {
  std::mt19937 random(34);
  for (int kind = 0; kind < int(Kind::kinds); ++kind)
    for (const std::int64_t d : {4, 9, 18}) {
      INFO("kind " << kind << ", d " << d);
      const TestLayer layer(Kind(kind), {640, d, 80}, 0, random);
      const OrderedPoints ordered(layer.points, 1);
      const TiledBlocks& points = ordered.points;
      const FilterPoints& image = ordered.image;
      CodewordTable table(80, d);
      layer.set(table, layer.some_blocks(80, random));
      FilterTable filter(80, d);
      filter.set(table);
      for (std::int64_t p = 0; p < 640; ++p)
        for (std::int64_t place = 0; place < 80; ++place) {
          const auto group = std::size_t(place / codeword_group);
          const FilterPoints::Group& scales = image.groups[std::size_t(p / group_points)];
          const double u = double(scales.scale) * double(filter.scales[group]);
          const std::int32_t code = filter.order[std::size_t(place)];
          double score = double(table.half_norm(code)), product = 0;
          for (std::int64_t j = 0; j < d; ++j) {
            const std::int64_t tile = p / tile_points, i = p % tile_points;
            score -= double(points.tiles[std::size_t((tile * d + j) * tile_points + i)]) *
                     double(table.codeword(code)[std::size_t(j)]);
            const int v =
                (image.words[std::size_t((tile * image.pairs + j / 2) * tile_points + i)] >> (j % 2 * 8) &
                 255) -
                128;
            const auto c = std::int8_t(
                filter.words[std::size_t((place / 16 * filter.pairs + j / 2) * 16 + place % 16)] >>
                (j % 2 * 8));
            product += v * c;
          }
          const double bound =
              std::floor(std::min(u * double(table.half_norm(code)), double(FilterTable::largest_offset))) -
              1 - product;
          const double error = double(scales.distance) * double(filter.norms[group]) +
                               double(scales.norm) * double(filter.distances[group]);
          REQUIRE(std::fabs(bound) < 32768);
          REQUIRE(bound <= u * score + error + 1e-2);
        }
    }
}

TEST_CASE("points are put in the order of their norms, equal ones as they were") {
  std::mt19937 random(35);
  for (const std::int64_t n : {1, 63, 64, 1000}) {
    const TestLayer layer(Kind::wide, {n, 9, 1}, 0, random);
    const PointOrder ordered = order_by_norm(layer.points);
    REQUIRE(ordered.points.count == n);
    REQUIRE(ordered.points.tiles.size() == layer.points.tiles.size());
    std::vector<bool> seen(std::size_t(n), false);
    const auto value = [](const TiledBlocks& points, std::int64_t i, std::int64_t j) {
      return points.tiles[std::size_t((i / tile_points * 9 + j) * tile_points + i % tile_points)];
    };
    double largest = 0;
    for (std::int64_t i = 0; i < ordered.points.groups() * group_points; ++i) {
      double norm2 = 0;
      for (std::int64_t j = 0; j < 9; ++j) {
        const float own = value(ordered.points, i, j);
        norm2 += double(own) * double(own);
        REQUIRE(own == (i < n ? value(layer.points, ordered.order[std::size_t(i)], j) : 0.0f));
      }
      if (i >= n) continue;
      REQUIRE(!seen[std::size_t(ordered.order[std::size_t(i)])]);
      seen[std::size_t(ordered.order[std::size_t(i)])] = true;
      CHECK(norm2 >= largest * 0.99);
      largest = std::max(largest, norm2);
    }
  }
}

TEST_CASE("a codebook whitened in the filter's order gives the same table, and the same codes") {
  std::mt19937 random(36);
  for (const std::int64_t d : {4, 8, 9, 16, 18})
    for (const std::int64_t k : {96, 100, 257})
      for (const int rank : {-1, 0, 1}) {  // no metric, a full one, one of rank 1
        INFO("d " << d << ", k " << k << ", rank " << rank);
        const TestLayer layer(Kind::normal, {256, d, k}, 0, random);
        const Whitening whitening =
            rank < 0 ? Whitening::identity(d) : reference::make_whitening(rank, std::size_t(d), random);
        const std::vector<float> scaled = scale_blocks(layer.some_blocks(k, random), layer.input.scale);
        std::vector<float> whitened(scaled.size());
        whitening.apply(scaled, whitened);
        std::vector<float> penalties;
        if (k != 100)
          for (std::int64_t c = 0; c < k; ++c)
            penalties.push_back(c % 17 == 5 ? FLT_MAX : 0.3f * std::generate_canonical<float, 24>(random));
        // The order is that of the layer's own metric.
        CodewordTable first(k, d), expected(k, d), table(k, d);
        layer.set(first, layer.some_blocks(k, random));
        FilterTable filter(k, d);
        filter.set(first);
        expected.set(whitened, penalties);
        filter.set_whitened(filter.columns_of(scaled), whitening, penalties, table);
        REQUIRE(table.rows == expected.rows);
        REQUIRE(table.norms2 == expected.norms2);
        REQUIRE(table.largest_norm2 == expected.largest_norm2);
        REQUIRE(table.is_distance == expected.is_distance);
        const OrderedPoints ordered(layer.points, 1);
        FilterScratch scratch;
        std::vector<std::int32_t> codes(256, 7), plain(256);
        std::vector<float> errors(256), plain_errors(256);
        assign_groups(ordered.points.tiles.data(), 4, table, plain.data(), plain_errors.data());
        assign_groups_filtered(ordered, 0, 4, table, filter, scratch, codes.data(), errors.data());
        REQUIRE(codes == plain);
        REQUIRE(errors == plain_errors);
      }
}
