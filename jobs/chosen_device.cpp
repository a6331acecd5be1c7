#include "chosen_device.hpp"

namespace bitfall {

std::unique_ptr<ComputeDevice> chosen_device(const std::string& name, JobContext& context) {
  auto device = choose_device(device_choice_from_string(name), context.communicator);
  context.reporter.event("device",
                         {{"device", device->backend().name()}, {"description", device->description()}});
  context.reporter.info("device: " + device->description());
  context.arrays = device->arrays();
  return device;
}

void add_device_option(CLI::App& job, std::string& name, const std::string& what) {
  job.add_option(
         "--device", name,
         "what " + what +
             " on: cpu, cuda (a GPU for each rank of a host), or auto: cuda where every rank has a GPU")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
      ->capture_default_str();
}

void run_networks_on(const ComputeDevice& device, std::initializer_list<Network*> networks,
                     const JobContext& context) {
  context.communicator.guarded("moving the network to the device", [&] {
    for (Network* network : networks)
      if (network != nullptr) network->use_device(device.networks());
  });
}

}  // namespace bitfall
