#pragma once
/// Integer sums over ranks of values that lie on their devices.
#include <cstdint>
#include <memory>

#include "bitfall/communicator.hpp"
#include "cuda/device.hpp"

namespace bitfall::cuda {

class DeviceSum {
 public:
  virtual ~DeviceSum() = default;
  /// Every rank's `to` gets the element-wise sum of all ranks' `from` (collective, ordered on the device's
  /// stream). Rank 0 has [1, 2], rank 1 has [3, 4]: both get [4, 6].
  virtual void sum(const std::int64_t* from, std::int64_t* to, std::int64_t count) const = 0;
  /// Waits for the device's stream, as Device::synchronize, and notices when a peer is lost meanwhile.
  virtual void wait() const = 0;
};

/// Over NCCL, whose first message travels over `communicator` (collective).
[[nodiscard]] std::unique_ptr<DeviceSum> make_device_sum(const Device& device,
                                                         const Communicator& communicator);

}  // namespace bitfall::cuda
