#include <cuda_runtime_api.h>
#include <nccl.h>

#include "cuda/device_report.hpp"

namespace bitfall {

DeviceReport report_devices() {
  DeviceReport report;
  report.built_with_cuda = true;
  cudaRuntimeGetVersion(&report.runtime_version);
  ncclGetVersion(&report.nccl_version);
  int count = 0;  // stays untouched where there is no driver
  if (const cudaError_t status = cudaGetDeviceCount(&count); status != cudaSuccess) {
    report.problem = cudaGetErrorString(status);
    return report;
  }
  for (int device = 0; device < count; ++device) {
    cudaDeviceProp properties{};
    if (cudaGetDeviceProperties(&properties, device) != cudaSuccess) continue;
    report.devices.push_back(std::string(properties.name) + ", " +
                             std::to_string(properties.totalGlobalMem >> 20) + " MiB");
  }
  return report;
}

}  // namespace bitfall
