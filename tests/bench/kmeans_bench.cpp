// How fast one iteration of k-means is, as a fraction of the multiply-adds that the machine could do, and
// what k-means++ costs beside 100 iterations. Usage: kmeans_bench [threads]
//
// An iteration does n*k*d fused multiply-adds (FMA); everything else (comparisons, errors, sums, the M-step)
// is counted as time but not as work. The peak is measured by a loop that touches only registers.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "bitfall/kmeans.hpp"
#include "fma_peak.hpp"
#include "parallel/threads.hpp"
#include "quantization/estep.hpp"
#include "quantization/init.hpp"

using namespace bitfall;

namespace {

using Clock = std::chrono::steady_clock;

template <class Work>
double seconds(const Work& work) {
  const auto begin = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

/// FMA per second of all threads together; the median of nine runs.
double peak(int threads) {
  std::vector<double> rates;
  for (int run = 0; run < 9; ++run) {
    std::vector<double> work(static_cast<std::size_t>(threads));
    const double time = seconds([&] {
      parallel_for(threads, threads,
                   [&](std::int64_t i) { work[static_cast<std::size_t>(i)] = bench::fma_in_registers(); });
    });
    double total = 0;
    for (const double own : work) total += own;
    rates.push_back(total / time);
  }
  return median(rates);
}

struct Shape {
  std::int64_t n, d, k;
};

void measure(const Shape& shape, int threads, double peak_rate) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0.0f, 0.05f);
  std::vector<float> values(static_cast<std::size_t>(shape.n * shape.d));
  for (float& value : values) value = normal(random);
  const Whitening identity = Whitening::identity(shape.d);
  KmeansParameters parameters;
  parameters.k = shape.k;
  parameters.iterations = 100;
  parameters.threads = threads;
  const KmeansResult result = kmeans(values, shape.d, identity, parameters, Communicator::self());
  std::vector<double> iterations;
  double all = 0;
  for (std::size_t i = 0; i < result.iterations.size(); ++i) {
    if (i > 0) all += result.iterations[i].seconds;  // the first includes k-means++
    if (i > 1) iterations.push_back(result.iterations[i].seconds);
  }
  const double iteration = median(iterations);
  const double hundred = all / static_cast<double>(result.iterations.size() - 1) * 100;

  const KmeansInput input{values, shape.d, identity, measure_blocks(values, shape.d)};
  const TiledBlocks tiled = tile_blocks(input, 0, shape.n, threads);
  const auto init = [&](int candidates) {
    const InitParameters chosen{shape.k, 0, 0, candidates, threads};
    return seconds([&] { (void)choose_initial_blocks(input, tiled, chosen, Communicator::self()); });
  };
  const double plain = init(1), greedy = init(greedy_candidates(shape.k));
  const double rate = static_cast<double>(shape.n * shape.d * shape.k) / iteration;
  std::printf("%8lld %4lld %6lld %10.2f %10.1f %7.0f %% %10.2f %12.0f %% %12.0f %%\n",
              static_cast<long long>(shape.n), static_cast<long long>(shape.d),
              static_cast<long long>(shape.k), iteration * 1e3, rate / 1e9, 100 * rate / peak_rate, hundred,
              100 * plain / hundred, 100 * greedy / hundred);
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  if (threads < 1) {
    std::fprintf(stderr, "usage: kmeans_bench [threads]\n");
    return 64;
  }
  const double peak_rate = peak(threads);
  std::printf("%d threads, peak %.1f GFMA/s in registers\n", threads, peak_rate / 1e9);
  std::printf("%8s %4s %6s %10s %10s %9s %10s %14s %14s\n", "n", "d", "k", "ms/iter", "GFMA/s", "of peak",
              "s/100 iter", "k-means++", "greedy");
  for (const Shape& shape : {Shape{262144, 9, 256},
                             {131072, 18, 256},
                             {65536, 4, 256},
                             {262144, 8, 256},
                             {128000, 4, 2048},
                             {512000, 4, 1024}})
    measure(shape, threads, peak_rate);
  return 0;
}
