#pragma once
/// The one place that chooses what a job computes on.
#include <memory>
#include <string>

#include "bitfall/communicator.hpp"
#include "parallel/array_work.hpp"
#include "parallel/local_rank.hpp"
#include "quantization/backend.hpp"

namespace bitfall {

enum class DeviceChoice { automatic, cpu, cuda };
/// Throws UsageError that lists the known names.
[[nodiscard]] DeviceChoice device_choice_from_string(const std::string& name);

/// What was chosen. Move-only; lives as long as the job.
class ComputeDevice {
 public:
  virtual ~ComputeDevice() = default;
  /// What k-means runs on.
  [[nodiscard]] virtual const Backend& backend() const = 0;
  /// What networks run on, for Network::use_device.
  [[nodiscard]] virtual std::string networks() const = 0;
  /// Kernels on the tensors of such networks; null on the CPU.
  [[nodiscard]] virtual const ArrayWork* arrays() const = 0;
  /// For people: "cpu" and, of `auto`, why no device; or "cuda, a device for each of 4 ranks".
  [[nodiscard]] virtual std::string description() const = 0;
};

/// Collective; every rank gets the same kind. `cuda` throws ClusterError on all ranks, with the reason, where
/// a rank has no device of its own; `automatic` takes the CPU there.
[[nodiscard]] std::unique_ptr<ComputeDevice> choose_device(DeviceChoice choice,
                                                           const Communicator& communicator);

}  // namespace bitfall
