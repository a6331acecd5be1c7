// Emulated devices, one a rank: sums over ranks are formed from what lies on the devices.
#include <cstdlib>
#include <random>
#include <string>

#include "../unit/quantization/reference_kmeans.hpp"
#include "bitfall/communicator.hpp"
#include "bitfall/errors.hpp"
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

TEST_CASE("two ranks never share a device, whether each sees all devices or its own alone") {
  const Communicator world = Communicator::world();
  setenv("BITFALL_EMULATED_DEVICES", "1", 1);
  if (world.size() > 1) {
    CHECK_THROWS_AS(choose_device(DeviceChoice::cuda, world), ClusterError);
    const auto instead = choose_device(DeviceChoice::automatic, world);
    CHECK(instead->backend().name() == "cpu");
    CHECK(instead->description().find("start one rank for each device") != std::string::npos);
  }
  setenv("BITFALL_EMULATED_FIRST_DEVICE", std::to_string(world.rank()).c_str(), 1);
  CHECK(choose_device(DeviceChoice::cuda, world)->backend().name() == "cuda");
  setenv("BITFALL_EMULATED_DEVICES", "0", 1);
  CHECK_THROWS_AS(choose_device(DeviceChoice::cuda, world), ClusterError);
  CHECK(choose_device(DeviceChoice::automatic, world)->backend().name() == "cpu");
  unsetenv("BITFALL_EMULATED_DEVICES");
  unsetenv("BITFALL_EMULATED_FIRST_DEVICE");
}

TEST_CASE("ranks of a host are numbered without gaps") {
  const Communicator world = Communicator::world();
  const LocalRank local = local_rank(world);
  CHECK(local.size == world.size());  // the tests run on one host
  CHECK(local.rank == world.rank());
}
