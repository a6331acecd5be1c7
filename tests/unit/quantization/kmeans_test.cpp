// The whole of k-means against the reference: equal bits for blocks of every kind, on every instruction set
// and any number of threads.
#include "bitfall/kmeans.hpp"

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "bitfall/errors.hpp"
#include "bitfall/quantized_layer.hpp"
#include "catch.hpp"
#include "hwy/highway.h"
#include "quantization/estep.hpp"
#include "reference_kmeans.hpp"

using namespace bitfall;
using reference::Kind;

namespace {

void require_equal(const KmeansResult& found, const KmeansResult& expected) {
  REQUIRE(found.k == expected.k);
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

struct Shape {
  std::size_t n, d;
  std::int64_t k;
};

/// Runs both on 1, 2 and 3 threads. Returns the number of codewords that were refilled.
std::int64_t compare(Kind kind, Shape shape, int rank, std::int64_t iterations, std::mt19937& random) {
  const auto values = reference::make_blocks(kind, shape.n, shape.d, random);
  const Whitening whitening = reference::make_whitening(rank, shape.d, random);
  KmeansParameters parameters;
  parameters.k = shape.k;
  parameters.iterations = iterations;
  parameters.seed = random();
  parameters.stream = random();
  if (random() % 2) parameters.greedy_limit = 0;
  INFO("kind " << int(kind) << ", n " << shape.n << ", d " << shape.d << ", k " << shape.k << ", rank "
               << rank << ", greedy limit " << parameters.greedy_limit);
  const KmeansResult expected = reference::Kmeans(values, shape.d, whitening, parameters).run();
  for (parameters.threads = 1; parameters.threads <= 3; ++parameters.threads)
    require_equal(kmeans(values, std::int64_t(shape.d), whitening, parameters, Communicator::self()),
                  expected);
  std::int64_t refilled = 0;
  for (const KmeansIteration& iteration : expected.iterations) refilled += iteration.refilled;
  return refilled;
}

/// Restores dynamic dispatch when a test ends.
class OnTarget {
 public:
  explicit OnTarget(std::int64_t target) { hwy::SetSupportedTargetsForTest(target); }
  ~OnTarget() { hwy::SetSupportedTargetsForTest(0); }
  OnTarget(const OnTarget&) = delete;
  OnTarget& operator=(const OnTarget&) = delete;
};

}  // namespace

TEST_CASE("k-means equals the reference bit for bit on small shapes of every kind") {
  std::mt19937 random(5);
  std::int64_t refilled = 0;
  for (int trial = 0; trial < 300; ++trial) {
    const auto kind = static_cast<Kind>(trial % int(Kind::kinds));
    const Shape shape{1 + random() % 200, 1 + random() % 20, std::int64_t(1 + random() % 40)};
    refilled += compare(kind, shape, int(random() % 3), 30, random);
  }
  CHECK(refilled > 0);  // or the path that refills was never taken
}

TEST_CASE("k-means equals the reference bit for bit on larger shapes") {
  std::mt19937 random(6);
  for (const Shape shape :
       {Shape{5000, 9, 64}, {4097, 4, 300}, {1111, 18, 256}, {3000, 8, 100}, {2000, 16, 33}, {640, 20, 256}})
    for (const Kind kind : {Kind::normal, Kind::sparse}) compare(kind, shape, 2, 3, random);
}

TEST_CASE("k-means++ on several threads equals the reference") {
  std::mt19937 random(17);
  for (int trial = 0; trial < 2; ++trial) compare(Kind::wide, {120000, 18, 4}, trial, 2, random);
}

TEST_CASE("k-means has the same bits on every instruction set") {
  const auto targets = estep_targets();
  REQUIRE(targets.size() >= 2);  // the portable one, and one with fused multiply-adds
  for (const std::int64_t target : targets) {
    const OnTarget on_target(target);
    std::mt19937 random(7);
    INFO("target " << hwy::TargetName(target));
    for (int trial = 0; trial < 40; ++trial) {
      const auto kind = static_cast<Kind>(trial % int(Kind::kinds));
      const Shape shape{1 + random() % 300, 1 + random() % 20, std::int64_t(1 + random() % 40)};
      compare(kind, shape, int(random() % 3), 5, random);
    }
    for (const std::size_t d : {4u, 8u, 9u, 16u, 18u}) compare(Kind::normal, {300, d, 37}, 2, 3, random);
  }
}

TEST_CASE("Lloyd's iterations never raise the objective, and the last one is that of the stored codes") {
  std::mt19937 random(8);
  const auto values = reference::make_blocks(Kind::normal, 4000, 9, random);
  KmeansParameters parameters;
  parameters.k = 64;
  parameters.iterations = 200;
  const Whitening identity = Whitening::identity(9);
  const KmeansResult result = kmeans(values, 9, identity, parameters, Communicator::self());
  REQUIRE(result.iterations.size() > 5);
  REQUIRE(result.iterations.size() < 201);  // it has stopped by itself
  CHECK(result.iterations[result.iterations.size() - 2].moved == 0);
  for (std::size_t i = 1; i + 1 < result.iterations.size(); ++i)
    CHECK(result.iterations[i].objective <= result.iterations[i - 1].objective * (1 + 1e-6));
  double objective = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t entry = result.codes[i / 9] * 9u + i % 9;
    const double error = double(values[i]) - double(half_to_float(result.codebook[entry]));
    objective += error * error;
  }
  CHECK(result.iterations.back().objective == Approx(objective).epsilon(1e-5));
}

TEST_CASE("as many codewords as distinct blocks give a perfect codebook") {
  std::mt19937 random(9);
  const auto values = reference::make_blocks(Kind::grid, 500, 3, random);  // 27 distinct blocks
  KmeansParameters parameters;
  parameters.k = 100;
  const KmeansResult result = kmeans(values, 3, Whitening::identity(3), parameters, Communicator::self());
  CHECK(result.k == 27);
  CHECK(result.iterations.back().objective == 0);
  for (std::size_t i = 0; i < values.size(); ++i)
    REQUIRE(half_to_float(result.codebook[result.codes[i / 3] * 3u + i % 3]) == values[i]);
}

TEST_CASE("-0 and 0 are one block") {
  const std::vector<float> values{0.0f, -0.0f, -0.0f, 0.0f, 0.0f, 0.0f};
  KmeansParameters parameters;
  parameters.k = 3;
  const KmeansResult result = kmeans(values, 2, Whitening::identity(2), parameters, Communicator::self());
  CHECK(result.k == 1);
  CHECK(result.codebook == std::vector<std::uint16_t>{0, 0});
  CHECK(result.codes == std::vector<std::uint16_t>{0, 0, 0});
}

TEST_CASE("a power of two changes nothing but the exponents") {
  std::mt19937 random(10);
  const auto values = reference::make_blocks(Kind::normal, 600, 4, random);
  KmeansParameters parameters;
  parameters.k = 16;
  const Whitening whitening = reference::make_whitening(2, 4, random);
  const KmeansResult plain = kmeans(values, 4, whitening, parameters, Communicator::self());
  for (const int shift : {-100, 8}) {
    std::vector<float> scaled(values);
    for (float& value : scaled) value = std::ldexp(value, shift);
    const KmeansResult other = kmeans(scaled, 4, whitening, parameters, Communicator::self());
    // Up to the rounding of the codebook to fp16, whose range is limited.
    REQUIRE(other.iterations.size() == plain.iterations.size());
    for (std::size_t i = 0; i + 1 < plain.iterations.size(); ++i)
      REQUIRE(other.iterations[i].objective == std::ldexp(plain.iterations[i].objective, 2 * shift));
    if (shift > 0) REQUIRE(other.codes == plain.codes);
  }
}

TEST_CASE("NaN, infinity and codewords beyond fp16 are refused") {
  KmeansParameters parameters;
  parameters.k = 2;
  const Whitening identity = Whitening::identity(2);
  const auto run = [&](std::vector<float> values) {
    return kmeans(values, 2, identity, parameters, Communicator::self());
  };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  CHECK_THROWS_AS(run({1, 2, 3, nan}), DataError);
  CHECK_THROWS_AS(run({1, -infinity, 3, 4}), DataError);
  CHECK_THROWS_AS(run({1, 2, 3, 65520}), DataError);
  CHECK_THROWS_AS(run({3e38f, -3e38f, -3e38f, 3e38f}), DataError);
  CHECK(run({1, 2, 3, 65519}).k == 2);
  try {
    run({1, 2, 3, 1e6f});
    FAIL("no exception");
  } catch (const DataError& error) {
    CHECK(std::string(error.what()).find("fp16") != std::string::npos);
  }
}
