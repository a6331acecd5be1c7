// DeviceSum for devices whose memory is the host's: the ranks' own communicator.
#include "cuda/device_sum.hpp"

#include <algorithm>
#include <span>

#include "emulation/grid.hpp"

namespace bitfall::cuda {
namespace {

class HostSum final : public DeviceSum {
 public:
  HostSum(const Device& device, const Communicator& communicator)
      : device_(device), communicator_(communicator) {}
  void sum(const std::int64_t* from, std::int64_t* to, std::int64_t count) const override {
    device_.check(emulation::call_status("ncclAllReduce", device_.rank()), "ncclAllReduce");
    std::copy_n(from, count, to);
    // In pieces: larger sums of this communicator come here again.
    constexpr auto piece = static_cast<std::int64_t>(Communicator::large_sum_values - 1);
    for (std::int64_t first = 0; first < count; first += piece)
      communicator_.sum(std::span(to + first, static_cast<std::size_t>(std::min(piece, count - first))));
  }
  void wait() const override { device_.synchronize(); }

 private:
  const Device& device_;
  Communicator communicator_;
};

}  // namespace

std::unique_ptr<DeviceSum> make_device_sum(const Device& device, const Communicator& communicator) {
  device.check(emulation::call_status("ncclCommInitRankConfig", device.rank()), "ncclCommInitRankConfig");
  return std::make_unique<HostSum>(device, communicator);
}

}  // namespace bitfall::cuda
