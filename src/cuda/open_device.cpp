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

std::string host_name() {
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  return host.data();
}

/// Ranks of a host take its devices in order. Where the launcher shows each rank one device alone (Slurm's
/// --gpus-per-task), that is every rank's number 0.
int device_of(const LocalRank& local) {
  return local.rank % visible_devices().count;
}

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

std::string obstacle(const LocalRank& /*local*/) {
  const VisibleDevices visible = visible_devices();
  if (visible.count > 0) return "";
  return "no CUDA device on " + host_name() + (visible.problem.empty() ? "" : ": " + visible.problem);
}

std::string identity(const LocalRank& local) {
  return host_name() + ", device " + device_identity(device_of(local));
}

std::unique_ptr<ComputeDevice> open_device(const Communicator& communicator, const LocalRank& local) {
  std::unique_ptr<CudaDevice> device;
  communicator.guarded("opening the device",
                       [&] { device = std::make_unique<CudaDevice>(device_of(local), communicator); });
  device->connect();
  return device;
}

}  // namespace bitfall::cuda
