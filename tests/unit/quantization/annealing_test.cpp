// Noise on codebooks, and k-means under it.
#include "quantization/annealing.hpp"

#include <cmath>
#include <random>
#include <vector>

#include "bitfall/kmeans.hpp"
#include "bitfall/quantizer.hpp"
#include "catch.hpp"
#include "full_oracle.hpp"

using namespace bitfall;

TEST_CASE("annealing noise has the size that noise on the members would have, and dies away") {
  const std::vector<float> blocks{0, 10, 2, 30};  // d = 2: standard deviations 1 and 10
  const Annealing annealing(0.5, 100, blocks, 2, 7, 3);
  const std::int64_t k = 20000;
  for (const std::int64_t count : {1, 4}) {
    for (const std::int64_t done : {1, 36, 99}) {
      std::vector<float> codebook(static_cast<std::size_t>(2 * k), 0.0F);
      annealing.disturb(done, std::vector<std::int64_t>(static_cast<std::size_t>(k), count), codebook);
      const double expected = 0.5 * std::sqrt(1 - double(done) / 100) / std::sqrt(double(count));
      for (std::size_t a = 0; a < 2; ++a) {
        double sum = 0, squares = 0;
        for (std::size_t i = a; i < codebook.size(); i += 2) {
          sum += codebook[i];
          squares += double(codebook[i]) * codebook[i];
        }
        const double scale = expected * (a == 0 ? 1 : 10);
        CHECK(std::abs(sum / double(k)) < 0.03 * scale);
        CHECK(std::sqrt(squares / double(k)) == Approx(scale).epsilon(0.02));
      }
    }
  }
  std::vector<float> still{1, 2, 3, 4};
  annealing.disturb(100, std::vector<std::int64_t>{1, 1}, still);  // the last update
  CHECK(still == std::vector<float>{1, 2, 3, 4});
  annealing.disturb(5, std::vector<std::int64_t>{0, 1}, still);
  CHECK(still[0] == 1);
  CHECK(still[1] == 2);
  CHECK(still[2] != 3);
  std::vector<float> one{1, 2}, same{1, 2}, other{1, 2};
  annealing.disturb(5, std::vector<std::int64_t>{2}, one);
  annealing.disturb(5, std::vector<std::int64_t>{2}, same);
  Annealing(0.5, 100, blocks, 2, 7, 4).disturb(5, std::vector<std::int64_t>{2}, other);
  CHECK(one == same);
  CHECK(one != other);
}

TEST_CASE("annealed k-means and restarts: reproducible, and restarts never make the objective worse") {
  std::mt19937 random(8);
  const oracle::Case given(120, 4, 4, 0, false, random);
  for (const Metric metric : {Metric::activation, Metric::blockwise, Metric::full}) {
    const auto run = [&](double anneal, std::int64_t restarts, int threads) {
      QuantizerParameters parameters;
      parameters.kmeans = {.k = 16, .iterations = 25, .seed = 5, .threads = threads, .anneal = anneal};
      parameters.restarts = restarts;
      return quantize_blocks(given.blocks(), metric, given.moments, parameters, Communicator::self()).kmeans;
    };
    const auto plain = run(0, 1, 1), annealed = run(0.5, 1, 1);
    CHECK(annealed.codes == run(0.5, 1, 3).codes);
    CHECK(annealed.codebook != plain.codebook);
    double last = plain.iterations.back().objective;
    bool better = false;
    for (const std::int64_t restarts : {2, 8}) {
      const auto found = run(0, restarts, 2);
      CHECK(found.iterations.back().objective <= last);
      better |= found.iterations.back().objective < last;
      last = found.iterations.back().objective;
    }
    INFO(to_string(metric));
    CHECK(better);
  }
}
