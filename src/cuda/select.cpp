#include "cuda/select.hpp"

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "bitfall/errors.hpp"
#include "cuda/open_device.hpp"

namespace bitfall {
namespace {

class Cpu final : public ComputeDevice {
 public:
  explicit Cpu(std::string reason) : reason_(std::move(reason)) {}
  [[nodiscard]] const Backend& backend() const override { return cpu_backend(); }
  [[nodiscard]] std::string networks() const override { return ""; }
  [[nodiscard]] const ArrayWork* arrays() const override { return nullptr; }
  [[nodiscard]] std::string description() const override {
    return reason_.empty() ? "cpu" : "cpu (" + reason_ + ")";
  }

 private:
  std::string reason_;
};

/// Why not all ranks have a device of their own; empty when they have. Collective.
std::string why_not(const Communicator& communicator, const LocalRank& local) {
  const std::string mine = cuda::obstacle(local);
  for (const std::string& reason : communicator.all_gather(mine))
    if (!reason.empty()) return reason;
  std::map<std::string, int> owners;
  const std::vector<std::string> devices = communicator.all_gather(cuda::identity(local));
  for (int rank = 0; rank < communicator.size(); ++rank) {
    const auto [owner, is_new] = owners.emplace(devices[static_cast<std::size_t>(rank)], rank);
    if (!is_new)
      return "ranks " + std::to_string(owner->second) + " and " + std::to_string(rank) +
             " of a host would share a device; start one rank for each device";
  }
  return "";
}

}  // namespace

DeviceChoice device_choice_from_string(const std::string& name) {
  if (name == "auto") return DeviceChoice::automatic;
  if (name == "cpu") return DeviceChoice::cpu;
  if (name == "cuda") return DeviceChoice::cuda;
  throw UsageError("the device must be auto, cpu or cuda, not '" + name + "'");
}

std::unique_ptr<ComputeDevice> choose_device(DeviceChoice choice, const Communicator& communicator) {
  if (choice == DeviceChoice::cpu) return std::make_unique<Cpu>("");
  const LocalRank local = local_rank(communicator);
  const std::string reason = why_not(communicator, local);
  if (reason.empty()) return cuda::open_device(communicator, local);
  if (choice == DeviceChoice::cuda)
    throw ClusterError("--device cuda: " + reason + "; --device cpu runs without one");
  return std::make_unique<Cpu>(reason);
}

}  // namespace bitfall
