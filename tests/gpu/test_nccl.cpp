// NCCL on a real device. Of one rank alone: two can't share a device.
#include <vector>

#include "catch.hpp"
#include "cuda/device_sum.hpp"
#include "kernel_device.hpp"

using namespace bitfall;

TEST_CASE("a sum over NCCL, of one rank") {
  const cuda::Device device = kernel_device(1);
  const auto sum = cuda::make_device_sum(device, Communicator::self());
  std::vector<std::int64_t> values(100'000), found(values.size());
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = (std::int64_t{1} << 61) - static_cast<std::int64_t>(i);
  const cuda::Buffer<std::int64_t> from(device, std::span<const std::int64_t>(values));
  cuda::Buffer<std::int64_t> to(device, from.size());
  sum->sum(from.data(), to.data(), from.size());
  sum->wait();
  to.download(found);
  REQUIRE(found == values);
  sum->sum(to.data(), to.data(), to.size());
  sum->wait();
  to.download(found);
  REQUIRE(found == values);
}
