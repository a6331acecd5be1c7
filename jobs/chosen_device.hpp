#pragma once
#include <initializer_list>
#include <memory>
#include <string>

#include "bitfall/network.hpp"
#include "job.hpp"
#include "src/cuda/select.hpp"

namespace bitfall {

/// What --device says and this machine has (collective); rank 0 says which it is.
[[nodiscard]] std::unique_ptr<ComputeDevice> chosen_device(const std::string& name, JobContext& context);

/// Adds --device. `what` runs there: "networks and k-means".
void add_device_option(CLI::App& job, std::string& name, const std::string& what);

/// From now on passes of these networks run on the device (collective).
void run_networks_on(const ComputeDevice& device, std::initializer_list<Network*> networks,
                     const JobContext& context);

}  // namespace bitfall
