#include "cuda/device_report.hpp"

namespace bitfall {

std::map<std::string, std::string> describe(const DeviceReport& report) {
  if (!report.built_with_cuda) return {{"cuda", "not built in (BITFALL_CUDA=OFF, or no toolkit was found)"}};
  const auto version = [](int code, int major, int minor) {
    return std::to_string(code / major) + "." + std::to_string(code % major / minor);
  };
  std::map<std::string, std::string> fields = {
      {"cuda", version(report.runtime_version, 1000, 10)},
      {"nccl", version(report.nccl_version, 10000, 100) + "." + std::to_string(report.nccl_version % 100)},
      {"gpus",
       std::to_string(report.devices.size()) + (report.problem.empty() ? "" : " (" + report.problem + ")")}};
  for (std::size_t i = 0; i < report.devices.size(); ++i)
    fields["gpu_" + std::to_string(i)] = report.devices[i];
  return fields;
}

}  // namespace bitfall
