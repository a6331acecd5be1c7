#include "cuda/device_report.hpp"

namespace bitfall {

DeviceReport report_devices() {
  return {};
}

}  // namespace bitfall
