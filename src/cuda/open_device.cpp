#include "cuda/open_device.hpp"

#include <unistd.h>

#include <array>
#include <memory>
#include <optional>
#include <string>

#include "cuda/cuda_backend.hpp"
#include "cuda/device.hpp"
#include "cuda/device_sum.hpp"

namespace bitfall::cuda {
namespace {

class CudaDevice final : public ComputeDevice {
 public:
  CudaDevice(int index, const Communicator& communicator)
      : ranks_(communicator.size()), communicator_(communicator), device_(index, communicator.rank()) {}
  void connect() {
    sum_ = make_device_sum(device_, communicator_);
    backend_.emplace(device_, sum_.get());
  }
  [[nodiscard]] const Backend& backend() const override { return *backend_; }
  [[nodiscard]] std::string description() const override {
    return "cuda, a device for " +
           std::string(ranks_ == 1 ? "the rank" : "each of " + std::to_string(ranks_) + " ranks");
  }

 private:
  int ranks_;
  Communicator communicator_;
  Device device_;
  std::unique_ptr<DeviceSum> sum_;
  std::optional<CudaBackend> backend_;
};

}  // namespace

std::string obstacle(const LocalRank& local) {
  const VisibleDevices visible = visible_devices();
  if (local.rank < visible.count) return "";
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  if (visible.count == 0)
    return std::string("no CUDA device on ") + host.data() +
           (visible.problem.empty() ? "" : ": " + visible.problem);
  return std::string("host ") + host.data() + " has " + std::to_string(visible.count) + " CUDA devices for " +
         std::to_string(local.size) + " ranks; start one rank for each device";
}

std::unique_ptr<ComputeDevice> open_device(const Communicator& communicator, const LocalRank& local) {
  std::unique_ptr<CudaDevice> device;
  communicator.guarded("opening the device",
                       [&] { device = std::make_unique<CudaDevice>(local.rank, communicator); });
  device->connect();
  return device;
}

}  // namespace bitfall::cuda
