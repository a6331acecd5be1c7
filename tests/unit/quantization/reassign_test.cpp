// New codes under a codebook that stays.
#include <random>
#include <vector>

#include "bitfall/quantizer.hpp"
#include "catch.hpp"
#include "full_oracle.hpp"

using namespace bitfall;

namespace {

struct Given {
  oracle::Case layer;
  std::vector<float> codebook;
  std::vector<std::uint16_t> codes;

  Given(std::size_t k, bool weighted, std::mt19937& random) : layer(50, 4, 3, 0, weighted, random) {
    std::normal_distribution<float> normal(0.0F, 0.1F);
    for (std::size_t i = 0; i < k * layer.d; ++i) codebook.push_back(normal(random));
    for (std::size_t i = 0; i < layer.weight.size() / layer.d; ++i)
      codes.push_back(static_cast<std::uint16_t>(random() % k));
  }
  [[nodiscard]] Reassignment run(Metric metric, int threads = 1) const {
    QuantizerParameters parameters;
    parameters.sweeps = 50;
    parameters.kmeans.threads = threads;
    return reassign_codes(layer.blocks(), metric, layer.moments, codebook, codes, parameters,
                          Communicator::self());
  }
};

}  // namespace

TEST_CASE("codes are re-assigned to what is best for their layer, and then stay") {
  std::mt19937 random(4);
  for (int trial = 0; trial < 4; ++trial) {
    Given given(9, trial % 2 == 0, random);
    for (const Metric metric : {Metric::blockwise, Metric::full}) {
      INFO(to_string(metric) << " trial " << trial);
      const bool blockwise = metric == Metric::blockwise;
      const double damping = blockwise ? 0 : QuantizerParameters{}.damping;
      const Reassignment found = given.run(metric);
      REQUIRE(found.is_kept());
      CHECK(found.codes != given.codes);
      CHECK(found.before ==
            Approx(given.layer.objective(given.codebook, given.codes, blockwise, damping)).epsilon(1e-3));
      CHECK(found.after ==
            Approx(given.layer.objective(given.codebook, found.codes, blockwise, damping)).epsilon(1e-3));
      CHECK(given.run(metric, 3).codes == found.codes);
      Given again = given;
      again.codes = found.codes;
      const Reassignment second = again.run(metric);
      CHECK_FALSE(second.is_kept());
      CHECK(second.codes == found.codes);
    }
  }
}

TEST_CASE("with one matrix for all positions, or none, codes are the nearest codewords") {
  std::mt19937 random(5);
  const Given given(7, false, random);
  const std::size_t d = given.layer.d;
  for (const Metric metric : {Metric::euclidean, Metric::activation}) {
    const Reassignment found = given.run(metric);
    REQUIRE(found.is_kept());
    for (std::size_t i = 0; i < found.codes.size(); ++i) {
      std::vector<double> errors;
      for (std::size_t c = 0; c < given.codebook.size() / d; ++c) {
        double error = 0;
        for (std::size_t a = 0; a < d; ++a)
          for (std::size_t b = 0; b < d; ++b) {
            const auto difference = [&](std::size_t x) {
              return double(given.layer.weight[i * d + x]) - double(given.codebook[c * d + x]);
            };
            error += difference(a) * difference(b) *
                     (metric == Metric::euclidean ? (a == b ? 1 : 0) : given.layer.moments.pooled[a * d + b]);
          }
        errors.push_back(error);
      }
      for (const double error : errors) REQUIRE(errors[found.codes[i]] <= error * (1 + 1e-5));
    }
  }
}
