#pragma once
/// Between choose_device and the device: one implementation with CUDA, one without; the build chooses.
#include <memory>
#include <string>

#include "cuda/select.hpp"

namespace bitfall::cuda {

/// Why this rank can't have a device; empty when it can. Not collective.
[[nodiscard]] std::string obstacle(const LocalRank& local);
/// The device that it takes: no two ranks may have the same one.
[[nodiscard]] std::string identity(const LocalRank& local);
/// Binds the device of the rank's number on its host and connects it with its peers (collective).
[[nodiscard]] std::unique_ptr<ComputeDevice> open_device(const Communicator& communicator,
                                                         const LocalRank& local);

}  // namespace bitfall::cuda
