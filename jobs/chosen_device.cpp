#include "chosen_device.hpp"

namespace bitfall {

std::unique_ptr<ComputeDevice> chosen_device(const std::string& name, JobContext& context) {
  auto device = choose_device(device_choice_from_string(name), context.communicator);
  context.reporter.event("device",
                         {{"device", device->backend().name()}, {"description", device->description()}});
  context.reporter.info("device: " + device->description());
  return device;
}

}  // namespace bitfall
