// Calls that fail, on the emulated device.
#include <string>

#include "../quantization/reference_kmeans.hpp"
#include "bitfall/errors.hpp"
#include "bitfall/kmeans.hpp"
#include "catch.hpp"
#include "cuda/cuda_backend.hpp"
#include "kernel_device.hpp"

using namespace bitfall;
using reference::Kind;

TEST_CASE("a failed call names the call, the rank and the host, and leaves no memory behind") {
  std::mt19937 random(1);
  const auto values = reference::make_blocks(Kind::normal, 200, 4, random);
  KmeansParameters parameters;
  parameters.k = 16;
  for (const char* call : {"cudaMalloc", "cudaMemcpyAsync", "cudaMemsetAsync", "cudaStreamSynchronize",
                           "kernel assign", "kernel cluster_sums"}) {
    for (const int number : {1, 2}) {
      INFO(call << ", time " << number);
      const cuda::Device device = kernel_device(1);
      const cuda::CudaBackend backend(device, nullptr);
      parameters.backend = &backend;
      emulation::inject_fault(call, 0, number);
      std::string message;
      try {
        (void)kmeans(values, 4, Whitening::identity(4), parameters, Communicator::self());
      } catch (const ClusterError& error) {
        message = error.what();
      }
      CHECK(message.find(std::string(call) + " failed on rank 0 (") == 0);
      CHECK(emulation::live_buffers() == 0);
    }
  }
}
