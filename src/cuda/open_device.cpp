#include "cuda/open_device.hpp"

#include <unistd.h>

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "cuda/cuda_array_work.hpp"
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

/// The rank's device and its link to those of the others.
struct LinkedDevice {
  LinkedDevice(int index, int rank) : device(index, rank) {}
  Device device;
  std::unique_ptr<DeviceSum> link;  ///< of more than one rank
};

/// Sums of values that lie on the host, by way of the devices: up, over NCCL, and down.
class SumOverDevices final : public LargeSum {
 public:
  explicit SumOverDevices(std::shared_ptr<const LinkedDevice> linked) : linked_(std::move(linked)) {}
  void sum(std::span<std::int64_t> values) const override {
    Buffer<std::int64_t> there(linked_->device, static_cast<std::int64_t>(values.size()));
    there.upload(values);
    linked_->link->sum(there.data(), there.data(), there.size());
    linked_->link->wait();
    there.download(values);
  }

 private:
  std::shared_ptr<const LinkedDevice> linked_;
};

class CudaDevice final : public ComputeDevice {
 public:
  CudaDevice(int index, const Communicator& communicator)
      : ranks_(communicator.size()),
        network_device_(network_device(index)),
        communicator_(communicator),
        linked_(std::make_shared<LinkedDevice>(index, communicator.rank())) {
    if (holds_tensors()) arrays_.emplace(index, communicator.rank());
  }
  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;
  ~CudaDevice() override { communicator_.use_for_large_sums(nullptr); }
  void connect() {
    if (ranks_ > 1) linked_->link = make_device_sum(linked_->device, communicator_);
    backend_.emplace(linked_->device, linked_->link.get());
    if (linked_->link != nullptr) communicator_.use_for_large_sums(std::make_shared<SumOverDevices>(linked_));
  }
  [[nodiscard]] const Backend& backend() const override { return *backend_; }
  [[nodiscard]] std::string networks() const override { return network_device_; }
  [[nodiscard]] const ArrayWork* arrays() const override { return arrays_ ? &*arrays_ : nullptr; }
  [[nodiscard]] std::string description() const override {
    return "cuda, a device for " +
           std::string(ranks_ == 1 ? "the rank" : "each of " + std::to_string(ranks_) + " ranks");
  }

 private:
  int ranks_;
  std::string network_device_;
  Communicator communicator_;
  std::shared_ptr<LinkedDevice> linked_;
  std::optional<CudaBackend> backend_;
  std::optional<CudaArrayWork> arrays_;
};

}  // namespace

std::string obstacle(const LocalRank& /*local*/) {
  const VisibleDevices visible = visible_devices();
  if (visible.count > 0) return network_obstacle();
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
