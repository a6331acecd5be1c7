// How long iterations of k-means take, and what share of the multiply-adds that the machine can do that is.
//
//   kmeans_bench [--iterations 25] [--repeats 3]                      a table of the shapes of real layers
//   kmeans_bench --n N --d D --k K [--iterations 25] [--plain]        one JSON line; the first FILE holds N x
//   D
//                [--data FILE] [--start FILE]                         floats, the second K x D
//
// An iteration is the whole of it: whitening the codebook, E-step, errors, moved points, refill, means. It
// counts as n*k*d fused multiply-adds (FMA), also where the filter leaves some out. The peak is measured by a
// loop that touches only registers. Both in processor time of one thread. "plain" is the same without the
// filter.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "bench_time.hpp"
#include "bitfall/kmeans.hpp"
#include "fma_peak.hpp"
#include "quantization/estep.hpp"
#include "quantization/kmeans_update.hpp"
#include "random_layer.hpp"

using namespace bitfall;

namespace {

struct Problem {
  std::int64_t n = 0, d = 0, k = 0;
  std::vector<float> values, start;
};

struct Run {
  std::vector<double> seconds;  ///< of each iteration
  double objective = 0;
};

double peak_rate() {
  const double begin = bench::processor_seconds();
  const double work = bench::fma_in_registers();
  return work / (bench::processor_seconds() - begin);
}

/// The loop of kmeans(), from a given codebook.
Run lloyd(const Problem& problem, std::int64_t iterations, bool accelerate) {
  const Whitening identity = Whitening::identity(problem.d);
  const KmeansInput input{problem.values, problem.d, identity, measure_blocks(problem.values, problem.d)};
  const TiledBlocks points = tile_blocks(input, 0, problem.n, 1);
  std::vector<float> codebook = problem.start, whitened(codebook.size());
  CodewordTable table(problem.k, problem.d);
  Run run;
  double begin = bench::processor_seconds();
  Clusters clusters(input, points, points.largest_norm2, problem.k, 1,
                    accelerate ? cpu_backend() : plain_cpu_backend());
  for (std::int64_t i = 0; i < iterations; ++i) {
    input.whiten(codebook, whitened);
    table.set(whitened);
    run.objective = clusters.assign(table, Communicator::self()).objective;
    refill_empty_clusters(input, points, clusters, codebook, Communicator::self());
    for (std::int64_t c = 0; c < problem.k; ++c)
      if (clusters.count(c) > 0)
        clusters.mean(c, std::span(codebook).subspan(static_cast<std::size_t>(c * problem.d),
                                                     static_cast<std::size_t>(problem.d)));
    const double end = bench::processor_seconds();
    run.seconds.push_back(end - begin);  // the first includes the order of the points
    begin = end;
  }
  return run;
}

Problem random_problem(std::int64_t n, std::int64_t d, std::int64_t k) {
  Problem problem{n, d, k, bench::student_values(n * d), {}};
  for (std::int64_t c = 0; c < k; ++c) {
    const auto block = problem.values.begin() + c * (n / k) * d;
    problem.start.insert(problem.start.end(), block, block + d);
  }
  return problem;
}

std::vector<float> read_floats(const std::string& path, std::int64_t count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  std::ifstream file(path, std::ios::binary);
  if (!file.read(reinterpret_cast<char*>(values.data()), count * static_cast<std::int64_t>(sizeof(float)))) {
    std::fprintf(stderr, "kmeans_bench: %s does not hold %lld floats\n", path.c_str(),
                 static_cast<long long>(count));
    std::exit(66);
  }
  return values;
}

double sum(const std::vector<double>& values) {
  double total = 0;
  for (const double value : values) total += value;
  return total;
}

void print_json(const Problem& problem, std::int64_t iterations, bool accelerate) {
  const double peak = peak_rate();
  const Run run = lloyd(problem, iterations, accelerate);
  std::printf("{\"peak\": %.6g, \"objective\": %.9g, \"seconds\": [", peak, run.objective);
  for (std::size_t i = 0; i < run.seconds.size(); ++i)
    std::printf("%s%.6g", i == 0 ? "" : ", ", run.seconds[i]);
  std::printf("]}\n");
}

void print_table(std::int64_t iterations, std::int64_t repeats) {
  std::printf("%8s %4s %6s %12s %12s %10s %12s %12s\n", "n", "d", "k", "plain ms", "share of peak", "ours ms",
              "share of peak", "plain / ours");
  constexpr std::int64_t shapes[][3] = {{262144, 9, 256}, {131072, 18, 256}, {65536, 4, 256},
                                        {262144, 8, 256}, {128000, 4, 2048}, {512000, 4, 1024}};
  for (const auto& [n, d, k] : shapes) {
    const Problem problem = random_problem(n, d, k);
    std::vector<double> peaks, plain, ours;
    for (std::int64_t i = 0; i < repeats; ++i) {
      peaks.push_back(peak_rate());
      const Run first = lloyd(problem, iterations, false);
      const Run second = lloyd(problem, iterations, true);
      if (first.objective != second.objective) {
        std::fprintf(stderr, "kmeans_bench: the accelerated path found another objective\n");
        std::exit(70);
      }
      plain.push_back(sum(first.seconds) / static_cast<double>(iterations));
      ours.push_back(sum(second.seconds) / static_cast<double>(iterations));
    }
    const double work = static_cast<double>(n * d * k), peak = bench::median(peaks);
    const double a = bench::median(plain), b = bench::median(ours);
    std::printf("%8lld %4lld %6lld %12.2f %12.2f %10.2f %12.2f %12.2f\n", static_cast<long long>(n),
                static_cast<long long>(d), static_cast<long long>(k), a * 1e3, work / a / peak, b * 1e3,
                work / b / peak, a / b);
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::map<std::string, std::string> options;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    options[name] = name == "--plain" || i + 1 == argc ? "1" : argv[++i];
  }
  const auto number = [&](const char* name, std::int64_t fallback) {
    return options.contains(name) ? std::atoll(options[name].c_str()) : fallback;
  };
  const std::int64_t iterations = number("--iterations", 25);
  if (!options.contains("--n")) {
    print_table(iterations, number("--repeats", 3));
    return 0;
  }
  Problem problem = random_problem(number("--n", 0), number("--d", 0), number("--k", 0));
  if (options.contains("--data")) problem.values = read_floats(options["--data"], problem.n * problem.d);
  if (options.contains("--start")) problem.start = read_floats(options["--start"], problem.k * problem.d);
  print_json(problem, iterations, !options.contains("--plain"));
  return 0;
}
