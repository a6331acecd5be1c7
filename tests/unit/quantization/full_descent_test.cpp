// The metric full: objective, codes and codebook against dense arithmetic.
#include "quantization/full_descent.hpp"

#include <cmath>
#include <random>

#include "catch.hpp"
#include "full_oracle.hpp"
#include "quantization/target_weight.hpp"

using namespace bitfall;

namespace {

constexpr double damping = 0.01;

struct Start {
  std::vector<float> codebook;
  std::vector<std::int32_t> codes;
};

Start random_start(const oracle::Case& given, std::size_t k, std::mt19937& random) {
  Start start;
  std::normal_distribution<float> normal(0.0f, 0.1f);
  for (std::size_t i = 0; i < k * given.d; ++i) start.codebook.push_back(normal(random));
  for (std::size_t i = 0; i < given.weight.size() / given.d; ++i)
    start.codes.push_back(std::int32_t(random() % k));
  return start;
}

std::vector<float> copy(std::span<const float> values) {
  return {values.begin(), values.end()};
}

Problem problem_of(const oracle::Case& given, const Communicator& communicator, int threads) {
  return {given.blocks(), integer_row_weights(given.moments.row_weights, std::int64_t(given.rows)), threads,
          communicator};
}

/// The minimiser over codebooks for fixed codes: the k d x k d normal equations, formed row by row.
std::vector<double> least_squares(const oracle::Case& given, const Start& start, std::size_t k) {
  const std::size_t d = given.d, columns = given.h.size(), m = columns / d;
  double trace = 0;
  for (std::size_t a = 0; a < columns; ++a) trace += given.h[a][a];
  auto normal = oracle::zeros(k * d, k * d);
  std::vector<double> right(k * d, 0.0);
  for (std::size_t r = 0; r < given.rows; ++r) {
    for (std::size_t a = 0; a < columns; ++a) {
      const std::size_t i = std::size_t(start.codes[r * m + a / d]) * d + a % d;
      for (std::size_t b = 0; b < columns; ++b) {
        const double entry =
            given.row_weight(r) * (given.h[a][b] + (a == b ? damping * trace / double(columns) : 0.0));
        normal[i][std::size_t(start.codes[r * m + b / d]) * d + b % d] += entry;
        right[i] += entry * double(given.weight[r * columns + b]);
      }
    }
  }
  return oracle::solve(normal, right);
}

}  // namespace

TEST_CASE("the objective of the metric full is e^T H e, after every kind of step") {
  std::mt19937 random(2);
  const Communicator self = Communicator::self();
  for (int trial = 0; trial < 12; ++trial) {
    const oracle::Case given(1 + random() % 150, 1 + random() % 7, 1 + random() % 9, trial % 3 == 0 ? 1 : 0,
                             trial % 2 == 0, random);
    const std::size_t k = 1 + random() % 20;
    const Start start = random_start(given, k, random);
    const PackedGram gram(given.moments.full, damping);
    const Problem problem = problem_of(given, self, 1 + trial % 3);
    FullDescent descent(problem, gram);
    const auto check = [&] {
      const double expected = given.objective(copy(descent.codebook()), descent.all_codes(), false, damping);
      REQUIRE(descent.objective() == Approx(expected).epsilon(1e-3));
      return expected;
    };
    descent.start(start.codebook, start.codes);
    double before = check();
    for (int i = 0; i < 4; ++i) {
      descent.fit_codebook(20);
      const double fitted = check();
      REQUIRE(fitted <= before * (1 + 1e-4));
      (void)descent.sweep();
      before = check();
      REQUIRE(before <= fitted * (1 + 1e-4));
    }
  }
}

TEST_CASE("the codebook of the metric full solves the normal equations") {
  std::mt19937 random(3);
  const Communicator self = Communicator::self();
  for (int trial = 0; trial < 6; ++trial) {
    const oracle::Case given(60 + random() % 60, 2 + random() % 4, 2 + random() % 4, 0, trial % 2 == 0,
                             random);
    const std::size_t k = 6;
    const Start start = random_start(given, k, random);
    const auto expected = least_squares(given, start, k);
    const PackedGram gram(given.moments.full, damping);
    const Problem problem = problem_of(given, self, 2);
    FullDescent descent(problem, gram);
    descent.start(start.codebook, start.codes);
    descent.fit_codebook(500);
    const std::vector<float> best(expected.begin(), expected.end());
    const double least = given.objective(best, start.codes, false, damping);
    CHECK(given.objective(copy(descent.codebook()), start.codes, false, damping) <= least * (1 + 1e-5));
  }
}

TEST_CASE("after the sweeps no single code of the metric full can be changed for the better") {
  std::mt19937 random(4);
  const Communicator self = Communicator::self();
  const oracle::Case given(70, 5, 4, 0, true, random);
  const std::size_t k = 9;
  const Start start = random_start(given, k, random);
  const PackedGram gram(given.moments.full, damping);
  const Problem problem = problem_of(given, self, 2);
  FullDescent descent(problem, gram);
  descent.start(start.codebook, start.codes);
  std::int64_t moved = 1;
  for (int i = 0; i < 200 && moved > 0; ++i) moved = descent.sweep();
  REQUIRE(moved == 0);
  auto codes = descent.all_codes();
  REQUIRE(codes != start.codes);
  const double best = given.objective(start.codebook, codes, false, damping);
  for (std::size_t i = 0; i < codes.size(); i += 7) {
    const std::int32_t kept = codes[i];
    for (std::size_t c = 0; c < k; ++c) {
      codes[i] = std::int32_t(c);
      REQUIRE(given.objective(start.codebook, codes, false, damping) >= best * (1 - 1e-5));
    }
    codes[i] = kept;
  }
}

TEST_CASE("weights of any magnitude are quantized alike") {
  std::mt19937 random(5);
  const Communicator self = Communicator::self();
  oracle::Case given(40, 3, 4, 0, false, random);
  Start start = random_start(given, 8, random);
  const PackedGram gram(given.moments.full, damping);
  const auto run = [&](int exponent) {
    oracle::Case scaled = given;
    Start from = start;
    for (float& v : scaled.weight) v = std::ldexp(v, exponent);
    for (float& v : from.codebook) v = std::ldexp(v, exponent);
    const Problem problem = problem_of(scaled, self, 1);
    FullDescent descent(problem, gram);
    descent.start(from.codebook, from.codes);
    descent.fit_codebook(5);
    (void)descent.sweep();
    return descent.all_codes();
  };
  const auto expected = run(0);
  CHECK(run(-90) == expected);
  CHECK(run(100) == expected);
}

TEST_CASE("the target weight solves its normal equations") {
  std::mt19937 random(6);
  const Communicator self = Communicator::self();
  const oracle::Case given(11, 3, 4, 0, false, random);
  const std::size_t columns = given.h.size();
  // y = V x for a V that is not W: B = V H, and the damped minimiser lies between W and V.
  std::normal_distribution<double> normal(0, 0.1);
  double trace = 0;
  for (std::size_t a = 0; a < columns; ++a) trace += given.h[a][a];
  const double ridge = damping * trace / double(columns);
  std::vector<double> wanted(given.weight.size(), 0.0), v(given.weight.size());
  for (double& value : v) value = normal(random);
  for (std::size_t r = 0; r < given.rows; ++r)
    for (std::size_t q = 0; q < columns; ++q)
      for (std::size_t p = 0; p < columns; ++p) wanted[r * columns + q] += v[r * columns + p] * given.h[p][q];
  const PackedGram gram(given.moments.full, damping);
  for (int threads = 1; threads <= 2; ++threads) {
    const Problem problem = problem_of(given, self, threads);
    const auto target = target_weight(problem, gram, wanted, 400);
    auto matrix = given.h;
    for (std::size_t a = 0; a < columns; ++a) matrix[a][a] += ridge;
    for (std::size_t r = 0; r < given.rows; ++r) {
      std::vector<double> right(columns);
      for (std::size_t p = 0; p < columns; ++p)
        right[p] = wanted[r * columns + p] + ridge * double(given.weight[r * columns + p]);
      const auto expected = oracle::solve(matrix, right);
      for (std::size_t p = 0; p < columns; ++p)
        CHECK(std::abs(double(target[r * columns + p]) - expected[p]) < 2e-3);
    }
  }
}
