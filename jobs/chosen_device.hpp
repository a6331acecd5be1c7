#pragma once
#include <memory>
#include <string>

#include "job.hpp"
#include "src/cuda/select.hpp"

namespace bitfall {

/// What --device says and this machine has (collective); rank 0 says which it is.
[[nodiscard]] std::unique_ptr<ComputeDevice> chosen_device(const std::string& name, JobContext& context);

}  // namespace bitfall
