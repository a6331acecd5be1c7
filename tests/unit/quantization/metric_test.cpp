#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "bitfall/errors.hpp"
#include "bitfall/metric.hpp"
#include "catch.hpp"

using namespace bitfall;

namespace {

/// A random Gram matrix of `samples` rows; singular when samples < d.
std::vector<double> random_gram(std::size_t d, int samples, double scale, std::mt19937& random) {
  std::normal_distribution<double> normal;
  std::vector<double> gram(d * d, 0.0), row(d);
  for (int s = 0; s < samples; ++s) {
    for (double& x : row) x = scale * normal(random);
    for (std::size_t i = 0; i < d; ++i)
      for (std::size_t j = 0; j < d; ++j) gram[i * d + j] += row[i] * row[j];
  }
  return gram;
}

double quadratic(const std::vector<double>& gram, const std::vector<float>& v) {
  double sum = 0;
  for (std::size_t i = 0; i < v.size(); ++i)
    for (std::size_t j = 0; j < v.size(); ++j)
      sum += static_cast<double>(v[i]) * gram[i * v.size() + j] * static_cast<double>(v[j]);
  return sum;
}

double squared_norm(const std::vector<float>& v) {
  double sum = 0;
  for (const float x : v) sum += static_cast<double>(x) * static_cast<double>(x);
  return sum;
}

}  // namespace

TEST_CASE("the whitened norm is the weighed norm, G scaled to trace d") {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (const std::size_t d : {1u, 2u, 4u, 9u, 18u})
    for (const int samples : {1, 3, 100})
      for (const double scale : {1e-150, 1e-3, 1.0, 1e150}) {
        const auto gram = random_gram(d, samples, scale, random);
        const Whitening whitening = Whitening::from_gram(gram, static_cast<std::int64_t>(d));
        REQUIRE_FALSE(whitening.is_identity());
        REQUIRE_FALSE(whitening.is_degenerate());
        double trace = 0;
        for (std::size_t i = 0; i < d; ++i) trace += gram[i * d + i] / static_cast<double>(d);
        std::vector<double> unit(gram);
        for (double& g : unit) g /= trace;
        for (std::size_t i = 0; i < d; ++i) unit[i * d + i] += 1e-7;
        for (int trial = 0; trial < 5; ++trial) {
          std::vector<float> v(d), out(d);
          for (float& x : v) x = normal(random);
          whitening.apply(v, out);
          const double bound = 1e-5 * static_cast<double>(d) * squared_norm(v);
          REQUIRE(std::abs(squared_norm(out) - quadratic(unit, v)) <= bound);
        }
      }
}

TEST_CASE("apply follows the documented order of its sum") {
  std::mt19937 random(4);
  std::normal_distribution<float> normal;
  constexpr std::size_t d = 9;
  const Whitening whitening = Whitening::from_gram(random_gram(d, 40, 1, random), d);
  std::vector<float> unit(d * d, 0.0f), factor(d * d), blocks(17 * d), out(17 * d);
  for (std::size_t i = 0; i < d; ++i) unit[i * d + i] = 1;
  whitening.apply(unit, factor);  // row j holds L_j0 .. L_jj
  for (float& x : blocks) x = normal(random);
  whitening.apply(blocks, out);
  for (std::size_t b = 0; b < 17; ++b)
    for (std::size_t i = 0; i < d; ++i) {
      float sum = 0;
      for (std::size_t j = i; j < d; ++j) {
        const float product = factor[j * d + i] * blocks[b * d + j];
        sum = sum + product;
      }
      REQUIRE(out[b * d + i] == sum);
    }
}

TEST_CASE("identity copies; a zero Gram matrix is degenerate; NaN is refused") {
  const std::vector<float> v{1, -2, 3, 4};
  std::vector<float> out(4);
  Whitening::identity(2).apply(v, out);
  CHECK(out == v);
  const Whitening zero = Whitening::from_gram(std::vector<double>(4, 0.0), 2);
  CHECK(zero.is_degenerate());
  CHECK(zero.is_identity());
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_AS(Whitening::from_gram(std::vector<double>{1, 0, 0, nan}, 2), DataError);
  const double infinity = std::numeric_limits<double>::infinity();
  CHECK_THROWS_AS(Whitening::from_gram(std::vector<double>{infinity, 0, 0, 1}, 2), DataError);
}

TEST_CASE("a dead input keeps the factor invertible") {
  const Whitening whitening = Whitening::from_gram(std::vector<double>{4, 0, 0, 0}, 2);
  std::vector<float> out(2);
  whitening.apply(std::vector<float>{0, 1}, out);
  CHECK(out[0] == 0);
  CHECK(out[1] == Approx(std::sqrt(1e-7)));
}

TEST_CASE("metrics have names") {
  CHECK(metric_from_string("euclidean") == Metric::euclidean);
  CHECK(metric_from_string(to_string(Metric::activation)) == Metric::activation);
  CHECK_THROWS_AS(metric_from_string("Euclidean"), UsageError);
}

TEST_CASE("Gram matrices whose entries are rounded until they are no Gram matrices give finite whitenings") {
  std::mt19937 random(5);
  std::normal_distribution<double> normal;
  for (const std::int64_t d : {2, 4, 9, 18})
    for (const double unit : {1.0, 0.1, double(std::numeric_limits<float>::denorm_min())})
      for (int trial = 0; trial < 50; ++trial) {
        // Inputs that nearly agree, so that G has rank 1 but for the rounding.
        std::vector<double> gram(std::size_t(d * d)), input(static_cast<std::size_t>(d));
        for (double& value : input) value = 1 + 0.3 * normal(random);
        for (std::int64_t i = 0; i < d; ++i)
          for (std::int64_t j = 0; j < d; ++j)
            gram[std::size_t(i * d + j)] =
                unit * std::round(2 * input[std::size_t(i)] * input[std::size_t(j)]);
        if (*std::max_element(gram.begin(), gram.end()) <= 0) continue;
        const Whitening whitening = Whitening::from_gram(gram, d);
        std::vector<float> blocks(std::size_t(d), 1.0f), whitened(std::size_t(d), 0.0f);
        whitening.apply(blocks, whitened);
        for (const float value : whitened) REQUIRE(std::fabs(value) <= 2 * std::sqrt(float(d)) * float(d));
      }
}
