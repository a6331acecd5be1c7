// Emulated devices, one a rank: sums over ranks are formed from what lies on the devices.
#include <random>

#include "../unit/quantization/reference_kmeans.hpp"
#include "bitfall/communicator.hpp"
#include "bitfall/kmeans.hpp"
#include "catch.hpp"
#include "cuda/select.hpp"
#include "parallel/local_rank.hpp"

using namespace bitfall;
using reference::Kind;

TEST_CASE("k-means on the devices of all ranks has the bits of one CPU") {
  const Communicator world = Communicator::world();
  const auto device = choose_device(DeviceChoice::cuda, world);
  REQUIRE(device->backend().name() == "cuda");
  std::mt19937 random(31);
  for (int trial = 0; trial < int(Kind::kinds); ++trial) {
    const std::size_t n = 1 + random() % 300, d = 1 + random() % 10;  // also ranks without points
    const auto values = reference::make_blocks(Kind(trial), n, d, random);
    const Whitening whitening = reference::make_whitening(2, d, random);
    KmeansParameters parameters;
    parameters.k = 1 + random() % 20;
    parameters.iterations = 6;
    const KmeansResult alone = kmeans(values, std::int64_t(d), whitening, parameters, Communicator::self());
    parameters.backend = &device->backend();
    const KmeansResult shared = kmeans(values, std::int64_t(d), whitening, parameters, world);
    INFO("kind " << trial << ", n " << n << ", d " << d << ", k " << parameters.k);
    REQUIRE(shared.codes == alone.codes);
    REQUIRE(shared.codebook == alone.codebook);
    REQUIRE(shared.iterations.back().objective == alone.iterations.back().objective);
  }
}

TEST_CASE("ranks of a host are numbered without gaps") {
  const Communicator world = Communicator::world();
  const LocalRank local = local_rank(world);
  CHECK(local.size == world.size());  // the tests run on one host
  CHECK(local.rank == world.rank());
}
