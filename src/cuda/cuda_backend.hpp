#pragma once
/// The back end of a rank that has a device (quantization/backend.hpp).
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "cuda/device.hpp"
#include "cuda/device_sum.hpp"
#include "quantization/backend.hpp"

namespace bitfall::cuda {

class CudaBackend final : public Backend {
 public:
  /// Both outlive the back end and all that it places. `sum` is over the ranks that will share points;
  /// nullptr where each rank has its own.
  CudaBackend(const Device& device, const DeviceSum* sum) : device_(device), sum_(sum) {}
  [[nodiscard]] std::string name() const override { return "cuda"; }
  [[nodiscard]] std::unique_ptr<ClusterWork> place(const KmeansInput& input, const TiledBlocks& points,
                                                   const FixedPoint& coordinate_scale, std::int64_t k,
                                                   int threads) const override;
  [[nodiscard]] std::unique_ptr<PositionWork> place_positions(std::span<const TiledBlocks> positions,
                                                              std::int64_t k, int threads) const override;

 private:
  const Device& device_;
  const DeviceSum* sum_;
};

}  // namespace bitfall::cuda
