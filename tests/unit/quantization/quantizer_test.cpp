// The finer metrics as a whole: what they find, and the same bits on any number of threads.
#include "bitfall/quantizer.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <random>

#include "bitfall/errors.hpp"
#include "bitfall/quantized_layer.hpp"
#include "catch.hpp"
#include "full_oracle.hpp"
#include "quantization/kmeans_blockwise.hpp"

using namespace bitfall;

namespace {

constexpr double damping = QuantizerParameters{}.damping;

std::vector<float> decode_codebook(const KmeansResult& result) {
  std::vector<float> values;
  for (const std::uint16_t half : result.codebook) values.push_back(half_to_float(half));
  return values;
}

/// The weight that codes and codebook stand for.
std::vector<float> given_back(const KmeansResult& result) {
  const auto codebook = decode_codebook(result);
  const std::size_t d = codebook.size() / std::size_t(result.k);
  std::vector<float> weight;
  for (const std::uint16_t code : result.codes)
    weight.insert(weight.end(), codebook.begin() + std::ptrdiff_t(code * d),
                  codebook.begin() + std::ptrdiff_t((code + 1) * d));
  return weight;
}

QuantizerParameters parameters_of(std::int64_t k, int threads = 1) {
  QuantizerParameters parameters;
  parameters.kmeans.k = k;
  parameters.kmeans.seed = 3;
  parameters.kmeans.threads = threads;
  return parameters;
}

QuantizedBlocks run(const oracle::Case& given, Metric metric, std::int64_t k, int threads = 1) {
  return quantize_blocks(given.blocks(), metric, given.moments, parameters_of(k, threads),
                         Communicator::self());
}

}  // namespace

TEST_CASE("the reported objective and energy are those of the result") {
  std::mt19937 random(1);
  for (int trial = 0; trial < 8; ++trial) {
    const oracle::Case given(20 + random() % 60, 1 + random() % 6, 1 + random() % 9, trial % 4 == 0 ? 1 : 0,
                             trial % 2 == 0, random);
    for (const Metric metric : {Metric::blockwise, Metric::full}) {
      const bool blockwise = metric == Metric::blockwise;
      const auto found = run(given, metric, 8);
      const double expected = given.objective(decode_codebook(found.kmeans), found.kmeans.codes, blockwise,
                                              blockwise ? 0 : damping);
      INFO(to_string(metric) << " trial " << trial);
      if (given.moments.full.back() == 0 && given.h.size() == given.d) continue;  // nothing but a dead input
      CHECK(found.kmeans.iterations.back().objective == Approx(expected).epsilon(2e-3));
      const std::vector<float> zero(given.d, 0.0f);
      const std::vector<int> all_zero(found.kmeans.codes.size(), 0);
      CHECK(found.energy ==
            Approx(given.objective(zero, all_zero, blockwise, blockwise ? 0 : damping)).epsilon(1e-3));
    }
  }
}

TEST_CASE("blockwise k-means never gets worse, and its codes are the nearest") {
  std::mt19937 random(2);
  const oracle::Case given(90, 4, 5, 1, true, random);
  const auto found = run(given, Metric::blockwise, 16).kmeans;
  for (std::size_t i = 1; i + 1 < found.iterations.size(); ++i)
    if (found.iterations[i - 1].refilled == 0)
      CHECK(found.iterations[i].objective <= found.iterations[i - 1].objective * (1 + 1e-5));
  const auto codebook = decode_codebook(found);
  auto codes = found.codes;
  const double best = given.objective(codebook, codes, true, 0);
  for (std::size_t i = 0; i < codes.size(); i += 5) {
    const auto kept = codes[i];
    for (std::size_t c = 0; c < std::size_t(found.k); ++c) {
      codes[i] = std::uint16_t(c);
      REQUIRE(given.objective(codebook, codes, true, 0) >= best * (1 - 1e-5));
    }
    codes[i] = kept;
  }
}

TEST_CASE("the blockwise M-step solves one small system for each codeword") {
  std::mt19937 random(3);
  const Communicator self = Communicator::self();
  const oracle::Case given(50, 3, 4, 0, true, random);
  const Problem problem{given.blocks(), integer_row_weights(given.moments.row_weights, 50), 2, self};
  const PositionMetrics metrics(given.moments.per_position, 4);
  BlockwiseState state;
  std::normal_distribution<float> normal(0.0f, 0.1f);
  for (int i = 0; i < 5 * 4; ++i) state.codebook.push_back(normal(random));
  BlockwiseState assigned = state;
  CodeRate free(5, 0, 0);
  (void)blockwise_assign(problem, metrics, assigned, free);
  const auto history =
      blockwise_kmeans(problem, metrics, 1, Annealing(0, 1, given.weight, 4, 0, 0), state, free);
  REQUIRE(history.front().refilled == 0);
  REQUIRE(state.codes == assigned.codes);
  for (std::size_t c = 0; c < 5; ++c) {
    auto matrix = oracle::zeros(4, 4);
    std::vector<double> right(4, 0.0);
    for (std::size_t r = 0; r < 50; ++r)
      for (std::size_t j = 0; j < 3; ++j) {
        if (std::size_t(state.codes[r * 3 + j]) != c) continue;
        for (std::size_t a = 0; a < 4; ++a)
          for (std::size_t b = 0; b < 4; ++b) {
            const double entry = given.row_weight(r) * given.h[4 * j + a][4 * j + b];
            matrix[a][b] += entry;
            right[a] += entry * double(given.weight[r * 12 + 4 * j + b]);
          }
      }
    const auto expected = oracle::solve(matrix, right);
    for (std::size_t a = 0; a < 4; ++a)
      CHECK(double(state.codebook[4 * c + a]) == Approx(expected[a]).margin(1e-5));
  }
}

TEST_CASE("each finer metric is better at its own objective") {
  std::mt19937 random(4);
  const oracle::Case given(128, 6, 4, 0, false, random);
  const auto coarse = run(given, Metric::activation, 16).kmeans;
  const auto blockwise = run(given, Metric::blockwise, 16).kmeans;
  const auto full = run(given, Metric::full, 16).kmeans;
  const auto error = [&](const KmeansResult& result, bool by_block) {
    return given.objective(decode_codebook(result), result.codes, by_block, 0);
  };
  CHECK(error(blockwise, true) < error(coarse, true));
  CHECK(error(full, false) < 0.9 * error(blockwise, false));
}

TEST_CASE("rows that count more are served better") {
  std::mt19937 random(5);
  oracle::Case given(128, 4, 4, 0, false, random);
  const auto error_of_third = [&](const KmeansResult& result) {
    const auto codebook = decode_codebook(result);
    double sum = 0;
    for (std::size_t r = 0; r < given.rows; r += 3) {
      const auto e = given.error_row(r, codebook, result.codes);
      for (std::size_t a = 0; a < e.size(); ++a)
        for (std::size_t b = 0; b < e.size(); ++b) sum += e[a] * given.h[a][b] * e[b];
    }
    return sum;
  };
  for (const Metric metric : {Metric::blockwise, Metric::full}) {
    given.moments.row_weights.clear();
    const double alike = error_of_third(run(given, metric, 8).kmeans);
    for (std::size_t r = 0; r < given.rows; ++r) given.moments.row_weights.push_back(r % 3 == 0 ? 50.0 : 1.0);
    CHECK(error_of_third(run(given, metric, 8).kmeans) < 0.96 * alike);
  }
}

TEST_CASE("threads do not change a bit") {
  std::mt19937 random(6);
  for (const auto [rows, positions, d, k] :
       {std::array<std::size_t, 4>{300, 5, 9, 40}, {65, 70, 4, 64}, {3, 2, 2, 2}}) {
    const oracle::Case given(rows, positions, d, 0, true, random);
    for (const Metric metric : {Metric::blockwise, Metric::full}) {
      const auto expected = run(given, metric, std::int64_t(k), 1);
      for (int threads = 2; threads <= 3; ++threads) {
        const auto found = run(given, metric, std::int64_t(k), threads);
        REQUIRE(found.kmeans.codes == expected.kmeans.codes);
        REQUIRE(found.kmeans.codebook == expected.kmeans.codebook);
        REQUIRE(found.kmeans.iterations.back().objective == expected.kmeans.iterations.back().objective);
      }
    }
  }
}

TEST_CASE("nasty layers: dead inputs, equal blocks, one codeword, NaN") {
  std::mt19937 random(7);
  for (const Metric metric : {Metric::blockwise, Metric::full}) {
    oracle::Case dead(16, 3, 4, 3, false, random);  // every input is zero
    CHECK(run(dead, metric, 4).kmeans.codes.size() == 48);
    oracle::Case equal(16, 3, 4, 0, false, random);
    for (std::size_t i = 0; i < equal.weight.size(); ++i) equal.weight[i] = i / 4 % 2 == 0 ? 0.5f : -0.25f;
    const auto two = run(equal, metric, 16).kmeans;
    CHECK(two.k == 2);
    CHECK(given_back(two) == equal.weight);
    const oracle::Case single(8, 2, 3, 0, false, random);
    CHECK(run(single, metric, 1).kmeans.codes == std::vector<std::uint16_t>(16, 0));
    oracle::Case broken(8, 2, 3, 0, false, random);
    broken.moments.per_position[4] = broken.moments.full[2] = std::numeric_limits<double>::quiet_NaN();
    CHECK_THROWS_AS(run(broken, metric, 2), DataError);
    oracle::Case bad_weight(8, 2, 3, 0, false, random);
    bad_weight.weight[5] = std::numeric_limits<float>::infinity();
    CHECK_THROWS_AS(run(bad_weight, metric, 2), DataError);
  }
}
