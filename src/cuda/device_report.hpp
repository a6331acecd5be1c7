#pragma once
/// What `bitfall doctor` says of CUDA and NCCL.
#include <map>
#include <string>
#include <vector>

namespace bitfall {

struct DeviceReport {
  bool built_with_cuda = false;
  int runtime_version = 0;  ///< 13000 is 13.0
  int nccl_version = 0;     ///< 22809 is 2.28.9
  std::string problem;      ///< why no device can be used, in the run-time's words; empty when one can
  std::vector<std::string> devices;
};
[[nodiscard]] DeviceReport report_devices();

/// Name -> value, for people.
[[nodiscard]] std::map<std::string, std::string> describe(const DeviceReport& report);

}  // namespace bitfall
