// The sum over NCCL, its waiting and its errors, with a NCCL and a CUDA stream that do what the test says.
// Their functions are defined here, so that no device is needed; the sums travel over MPI.
#include <cuda_runtime_api.h>
#include <mpi.h>
#include <nccl.h>

#include <array>
#include <cstring>
#include <string>

#include "bitfall/errors.hpp"
#include "catch.hpp"
#include "cuda/device_sum.hpp"
#include "kernel_device.hpp"

using namespace bitfall;

namespace {

/// What the libraries will do next.
struct Script {
  ncclResult_t init = ncclSuccess, all_reduce = ncclSuccess;
  ncclResult_t later = ncclSuccess;  ///< what the communicator reports when asked...
  int in_progress = 0;               ///< ...after having been busy so many times
  int stream_busy = 0;               ///< queries until the stream is done
  cudaError_t stream = cudaSuccess;
  std::string id;  ///< the id that the communicator was made with
  int aborted = 0;
};
Script script;

std::string message_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const ClusterError& error) {
    return error.what();
  }
  return "";
}

bool names(const std::string& message, const std::string& call, int rank) {
  return message.find(call + " failed on rank " + std::to_string(rank) + " (") == 0;
}

}  // namespace

extern "C" {
ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  std::memset(id->internal, 'q', sizeof id->internal);
  return ncclSuccess;
}
ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int, ncclUniqueId id, int, ncclConfig_t* config) {
  if (config->blocking != 0) return ncclInvalidUsage;
  script.id.assign(id.internal, sizeof id.internal);
  *comm = reinterpret_cast<ncclComm_t>(&script);
  return script.init;
}
ncclResult_t ncclCommAbort(ncclComm_t) {
  ++script.aborted;
  return ncclSuccess;
}
ncclResult_t ncclCommGetAsyncError(ncclComm_t, ncclResult_t* result) {
  *result = script.in_progress > 0 ? ncclInProgress : script.later;
  if (script.in_progress > 0) --script.in_progress;
  return ncclSuccess;
}
ncclResult_t ncclAllReduce(const void* from, void* to, std::size_t count, ncclDataType_t type,
                           ncclRedOp_t operation, ncclComm_t, cudaStream_t) {
  if (type != ncclInt64 || operation != ncclSum) return ncclInvalidArgument;
  MPI_Allreduce(from, to, static_cast<int>(count), MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
  return script.all_reduce;
}
const char* ncclGetErrorString(ncclResult_t result) {
  return result == ncclRemoteError ? "a peer is lost" : "NCCL's words";
}
const char* ncclGetLastError(ncclComm_t) {
  return "more words";
}
cudaError_t cudaStreamQuery(cudaStream_t) {
  if (script.stream_busy-- > 0) return cudaErrorNotReady;
  return script.stream;
}
}

TEST_CASE("sums of all ranks' devices; the communicator's id travels from rank 0") {
  script = Script();
  script.in_progress = 3;
  script.stream_busy = 5;
  const Communicator world = Communicator::world();
  const cuda::Device device = kernel_device(1);
  {
    const auto sum = cuda::make_device_sum(device, world);
    CHECK(script.id == std::string(sizeof(ncclUniqueId), 'q'));
    const std::array<std::int64_t, 2> own{world.rank() + 1, 10};
    std::array<std::int64_t, 2> all{};
    script.all_reduce = ncclInProgress;  // as a communicator that does not block may say
    script.in_progress = 2;
    sum->sum(own.data(), all.data(), 2);
    sum->wait();
    const std::int64_t ranks = world.size();
    CHECK(all[0] == ranks * (ranks + 1) / 2);
    CHECK(all[1] == 10 * ranks);
    CHECK(script.stream_busy < 0);  // it was waited for
    CHECK(script.aborted == 0);
  }
  CHECK(script.aborted == 1);  // not left behind
}

TEST_CASE("errors of NCCL name the call and the rank, and a peer that is lost ends the wait") {
  const Communicator world = Communicator::world();
  const cuda::Device device(0, world.rank());
  script = Script();
  script.later = ncclSystemError;
  script.in_progress = 2;
  CHECK(names(message_of([&] { (void)cuda::make_device_sum(device, world); }), "ncclCommInitRankConfig",
              world.rank()));
  script = Script();
  const auto sum = cuda::make_device_sum(device, world);
  std::array<std::int64_t, 1> own{1}, all{};
  script.all_reduce = ncclInternalError;
  CHECK(names(message_of([&] { sum->sum(own.data(), all.data(), 1); }), "ncclAllReduce", world.rank()));
  script = Script();
  script.stream_busy = 1 << 30;
  script.later = ncclRemoteError;  // a peer has left: the stream would never be done
  const std::string lost = message_of([&] { sum->wait(); });
  CHECK(names(lost, "ncclAllReduce", world.rank()));
  CHECK(lost.find("a peer is lost (more words)") != std::string::npos);
}

TEST_CASE("a kernel that failed shows when its stream is waited for") {
  const Communicator world = Communicator::world();
  const cuda::Device device(0, world.rank());
  script = Script();
  script.stream_busy = 2;
  script.stream = cudaErrorIllegalAddress;
  const auto sum = cuda::make_device_sum(device, world);
  CHECK(names(message_of([&] { sum->wait(); }), "cudaStreamQuery", world.rank()));
}
