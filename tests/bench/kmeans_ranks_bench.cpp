// The median time of an iteration of k-means over the ranks of MPI, one thread each:
// tests/bench/kmeans_ranks.py. Usage: mpirun -n R kmeans_ranks_bench N D K ITERATIONS
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "bench_time.hpp"
#include "bitfall/communicator.hpp"
#include "bitfall/kmeans.hpp"
#include "random_layer.hpp"

using namespace bitfall;

int main(int argc, char** argv) {
  MpiSession session(argc, argv);
  if (argc != 5) {
    std::fprintf(stderr, "usage: kmeans_ranks_bench N D K ITERATIONS\n");
    return 64;
  }
  const Communicator world = Communicator::world();
  const std::int64_t n = std::atoll(argv[1]), d = std::atoll(argv[2]);
  KmeansParameters parameters;
  parameters.k = std::atoll(argv[3]);
  parameters.iterations = std::atoll(argv[4]);
  const std::vector<float> values = bench::student_values(n * d);
  const KmeansResult result = kmeans(values, d, Whitening::identity(d), parameters, world);
  std::vector<double> seconds;  // the first iteration has k-means++ in it, the last one no M-step
  for (std::size_t i = 1; i + 1 < result.iterations.size(); ++i)
    seconds.push_back(result.iterations[i].seconds);
  if (world.is_root()) std::printf("%.6g\n", bench::median(seconds));
  return 0;
}
