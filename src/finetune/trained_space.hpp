#pragma once
/// Everything that training moves, as one flat vector: codebooks first as they are added, then dense tensors.
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bitfall/network.hpp"
#include "bitfall/quantized_layer.hpp"
#include "finetune/device_codes.hpp"
#include "parallel/array_work.hpp"

namespace bitfall {

class TrainedSpace {
 public:
  /// `arrays`: of the device where passes run, which then gathers and decodes; none: the host does.
  explicit TrainedSpace(const ArrayWork* arrays = nullptr) : arrays_(arrays) {}
  /// The codebook of a layer, started from its fp16 values; its codes stay.
  void add_codebook(const QuantizedLayer& layer);
  /// A parameter of the network as it is (float32).
  void add_tensor(const Network& network, const std::string& name);

  [[nodiscard]] std::span<float> values() { return values_; }
  [[nodiscard]] std::span<const float> values() const { return values_; }
  /// Qualified names of the network's tensors that gradients are needed of, in order.
  [[nodiscard]] std::vector<std::string> names() const;
  /// Length of each part of the vector.
  [[nodiscard]] std::vector<std::int64_t> lengths() const;

  /// Gradients of the flat vector from those of the tensors of names(). On a device they are summed where
  /// they lie, and only the result travels; the same bits.
  void gather(std::span<const at::Tensor> gradients, std::span<double> out) const;
  /// Writes weights (decoded from the float32 codebooks) and tensors into the network, in place; on a device,
  /// into the copies that passes read.
  void write(Network& network) const;
  /// The codebook of a layer that was added, as it is now; empty when it was not.
  [[nodiscard]] std::span<const float> codebook(const std::string& weight_name) const;
  /// New codes for a layer that was added; false when it was not.
  bool set_codes(const std::string& weight_name, std::span<const std::uint16_t> codes);
  /// Rounds every codebook to its type, in the vector and in `layers` (those that were added), so that what
  /// runs is what is stored. Throws DataError naming a layer whose codeword leaves the range of fp16.
  void round_codebooks(std::span<QuantizedLayer> layers);

 private:
  struct Part {
    std::string name;
    std::size_t first = 0, length = 0;
    std::int64_t d = 0;                                 ///< 0: a dense tensor
    std::vector<std::uint16_t> codes;                   ///< of a codebook
    mutable std::optional<DeviceCodes> on_device = {};  ///< made when first needed
  };
  /// A part as kernels read it; `place` is some tensor on their device.
  [[nodiscard]] static TrainedPart on_device(const Part& part, const at::Tensor& place);
  void gather_on_device(std::span<const at::Tensor> gradients, std::span<double> out) const;
  void write_on_device(Network& network) const;
  [[nodiscard]] const Part* find(const std::string& name) const;

  const ArrayWork* arrays_;
  std::vector<Part> parts_;
  std::vector<float> values_;
};

}  // namespace bitfall
