// DeviceSum over NCCL, without calls that block for ever: the communicator does not block, and whoever waits
// looks for errors of peers meanwhile (NCCL user guide, "Fault tolerance").
#include <cuda_runtime_api.h>
#include <nccl.h>

#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <thread>

#include "cuda/device_sum.hpp"

namespace bitfall::cuda {
namespace {

/// Looks again and again, at first without pause: most waits are some tens of microseconds.
class Patience {
 public:
  void pause() const {
    if (std::chrono::steady_clock::now() - begin_ < std::chrono::milliseconds(1))
      std::this_thread::yield();
    else
      std::this_thread::sleep_for(std::chrono::microseconds(50));
  }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

/// Abort and not destroy: a peer that has left must not be waited for.
struct Abort {
  void operator()(ncclComm_t comm) const { ncclCommAbort(comm); }
};

class NcclSum final : public DeviceSum {
 public:
  NcclSum(const Device& device, const Communicator& communicator) : device_(device) {
    ncclUniqueId id{};
    communicator.guarded("starting NCCL", [&] {
      if (communicator.is_root()) check(ncclGetUniqueId(&id), "ncclGetUniqueId");
    });
    communicator.broadcast(std::span<char>(id.internal));
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    ncclComm_t comm = nullptr;
    const ncclResult_t status =
        ncclCommInitRankConfig(&comm, communicator.size(), id, communicator.rank(), &config);
    comm_.reset(comm);
    check(status, "ncclCommInitRankConfig");
    finish("ncclCommInitRankConfig");
  }
  void sum(const std::int64_t* from, std::int64_t* to, std::int64_t count) const override {
    check(ncclAllReduce(from, to, static_cast<std::size_t>(count), ncclInt64, ncclSum, comm_.get(),
                        device_.stream()),
          "ncclAllReduce");
    finish("ncclAllReduce");
  }

  void wait() const override {
    const Patience patience;
    for (;;) {
      const cudaError_t status = cudaStreamQuery(device_.stream());
      if (status == cudaSuccess) return;
      if (status != cudaErrorNotReady) device_.check(status, "cudaStreamQuery");
      check(state(), "ncclAllReduce");
      patience.pause();
    }
  }

 private:
  /// What NCCL's own threads have met meanwhile: the loss of a peer, for example.
  [[nodiscard]] ncclResult_t state() const {
    ncclResult_t found = ncclSuccess;
    check(ncclCommGetAsyncError(comm_.get(), &found), "ncclCommGetAsyncError");
    return found;
  }
  void finish(const char* call) const {
    const Patience patience;
    ncclResult_t now = state();
    for (; now == ncclInProgress; now = state()) patience.pause();
    check(now, call);
  }
  void check(ncclResult_t status, const char* call) const {
    if (status == ncclSuccess || status == ncclInProgress) return;
    const char* detail = ncclGetLastError(comm_.get());
    throw_failed_call(call, device_.rank(),
                      std::string(ncclGetErrorString(status)) +
                          (detail != nullptr && *detail != '\0' ? std::string(" (") + detail + ")" : ""));
  }

  const Device& device_;
  std::unique_ptr<ncclComm, Abort> comm_;
};

}  // namespace

std::unique_ptr<DeviceSum> make_device_sum(const Device& device, const Communicator& communicator) {
  return std::make_unique<NcclSum>(device, communicator);
}

}  // namespace bitfall::cuda
