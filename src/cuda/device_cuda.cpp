#include "cuda/device.hpp"

#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <algorithm>

namespace bitfall::cuda {

VisibleDevices visible_devices() {
  VisibleDevices visible;
  int count = 0;  // stays untouched where there is no driver
  if (const cudaError_t status = cudaGetDeviceCount(&count); status != cudaSuccess)
    visible.problem = cudaGetErrorString(status);
  else
    visible.count = count;
  return visible;
}

std::string device_identity(int index) {
  cudaDeviceProp properties{};
  if (cudaGetDeviceProperties(&properties, index) != cudaSuccess) return "";
  return std::string(properties.uuid.bytes, sizeof properties.uuid.bytes);
}

std::string network_device(int index) {
  return "cuda:" + std::to_string(index);
}

std::string network_obstacle() {
  // It registers itself with the part that the program is linked with, and stays.
  if (dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) != nullptr) return "";
  return std::string("LibTorch's part for CUDA can't be loaded: ") + dlerror();
}

bool holds_tensors() {
  return true;
}

Device::Device(int index, int rank, StreamChoice stream) : rank_(rank) {
  check(cudaSetDevice(index), "cudaSetDevice");
  int value = 0;
  check(cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, index), "cudaDeviceGetAttribute");
  multiprocessors_ = value;
  check(cudaDeviceGetAttribute(&value, cudaDevAttrMaxSharedMemoryPerBlockOptin, index),
        "cudaDeviceGetAttribute");
  shared_bytes_ = value;
  // LibTorch's stream is the legacy default one as long as nobody sets another, and nobody does.
  if (stream == StreamChoice::own)
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
}

Device::~Device() {
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
}

void* Device::allocate(std::int64_t bytes) const {
  constexpr std::int64_t least = 16;  // a rank without points asks for nothing, which CUDA refuses
  void* memory = nullptr;
  check(cudaMallocAsync(&memory, static_cast<std::size_t>(std::max(bytes, least)), stream_),
        "cudaMallocAsync");
  return memory;
}

void Device::release(void* memory) const noexcept {
  cudaFreeAsync(memory, stream_);  // a failure shows at the next call
}

void Device::upload(void* to, const void* from, std::int64_t bytes) const {
  // From pageable memory the call returns when the source has been read (CUDA run-time API, "API
  // synchronization behavior").
  check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyHostToDevice, stream_),
        "cudaMemcpyAsync");
}

void Device::download(void* to, const void* from, std::int64_t bytes) const {
  check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDeviceToHost, stream_),
        "cudaMemcpyAsync");
  synchronize();
}

void Device::set_zero(void* memory, std::int64_t bytes) const {
  check(cudaMemsetAsync(memory, 0, static_cast<std::size_t>(bytes), stream_), "cudaMemsetAsync");
}

void Device::synchronize() const {
  check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
}

void Device::check(int status, const char* call) const {
  if (status == cudaSuccess) return;
  throw_failed_call(call, rank_, cudaGetErrorString(static_cast<cudaError_t>(status)));
}

}  // namespace bitfall::cuda
