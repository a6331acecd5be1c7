// Time of an iteration of `blockwise` beside one of `activation`, for 512 x 512 x 3 x 3, d 9, k 256, one
// thread. Usage: blockwise_bench [repeats]
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "bench_time.hpp"
#include "bitfall/quantizer.hpp"
#include "quantization/annealing.hpp"
#include "quantization/backend.hpp"
#include "quantization/code_rate.hpp"
#include "quantization/kmeans_blockwise.hpp"
#include "random_layer.hpp"

using namespace bitfall;

namespace {

constexpr std::int64_t rows = 512, positions = 512, d = 9, k = 256, iterations = 12;

/// A matrix A A^T for each position, A being random and near the identity.
std::vector<double> random_grams() {
  std::mt19937 random(2);
  std::normal_distribution<double> normal(0, 0.2);
  std::vector<double> grams;
  for (std::int64_t j = 0; j < positions; ++j) {
    std::vector<double> a(static_cast<std::size_t>(d * d));
    for (std::int64_t i = 0; i < d * d; ++i)
      a[static_cast<std::size_t>(i)] = normal(random) + (i % (d + 1) == 0 ? 1 : 0);
    for (std::int64_t i = 0; i < d; ++i)
      for (std::int64_t l = 0; l < d; ++l) {
        double sum = 0;
        for (std::int64_t m = 0; m < d; ++m)
          sum += a[static_cast<std::size_t>(i * d + m)] * a[static_cast<std::size_t>(l * d + m)];
        grams.push_back(sum);
      }
  }
  return grams;
}

std::vector<double> pool(const std::vector<double>& grams) {
  std::vector<double> pooled(static_cast<std::size_t>(d * d), 0.0);
  for (std::size_t i = 0; i < grams.size(); ++i) pooled[i % pooled.size()] += grams[i];
  return pooled;
}

/// Of the iterations after the second.
double median_seconds(const std::vector<KmeansIteration>& history) {
  std::vector<double> seconds;
  for (std::size_t i = 2; i < history.size(); ++i) seconds.push_back(history[i].seconds);
  return bench::median(seconds);
}

}  // namespace

int main(int argc, char** argv) {
  const int repeats = argc > 1 ? std::atoi(argv[1]) : 5;
  const std::vector<float> values = bench::student_values(rows * positions * d);
  const WeightBlocks weight{values, rows, d};
  LayerMoments moments;
  moments.per_position = random_grams();
  moments.pooled = pool(moments.per_position);
  const Whitening whitening = Whitening::from_gram(moments.pooled, d);
  const PositionMetrics metrics(moments.per_position, d);
  const Communicator self = Communicator::self();
  const Problem problem{weight, integer_row_weights({}, rows), 1, self};
  KmeansParameters parameters;
  parameters.k = k;
  std::vector<double> plain, accelerated, blockwise;
  for (int i = 0; i < repeats; ++i) {
    parameters.iterations = iterations;
    for (const bool accelerate : {false, true}) {
      parameters.backend = accelerate ? &cpu_backend() : &plain_cpu_backend();
      (accelerate ? accelerated : plain)
          .push_back(median_seconds(kmeans(values, d, whitening, parameters, self).iterations));
    }
    BlockwiseState state;
    CodeRate rate(k, 0, 0);  // bits cost nothing
    state.codebook.assign(values.begin(), values.begin() + k * d);
    blockwise.push_back(median_seconds(blockwise_kmeans(
        problem, metrics, iterations, Annealing(0, iterations, values, d, 0, 0), state, rate)));
  }
  std::printf("an iteration, ms: activation %.2f (%.2f with nothing left out), blockwise %.2f: %.2f times\n",
              1e3 * bench::median(accelerated), 1e3 * bench::median(plain), 1e3 * bench::median(blockwise),
              bench::median(blockwise) / bench::median(accelerated));
  return 0;
}
