#pragma once
/// ToTensor + Normalize: from bytes to floats, /255 and the normalisation in single precision, in
/// torchvision's order. The same bits on every processor.
#include <array>
#include <cstdint>
#include <span>

#include "bitfall/images.hpp"
#include "normalise_kernels.hpp"
#include "window.hpp"

namespace bitfall {

class Normaliser {
 public:
  explicit Normaliser(const Preprocessing& preprocessing);
  /// Pixels `window` of `part` as channels x height x width floats, mirrored where `flip`.
  void write(const ImagePart& part, const Window& window, bool flip, std::span<float> out) const;

 private:
  [[nodiscard]] bool arithmetic_equals_tables() const;
  void look_up_row(const std::uint8_t* rgb, std::int64_t width, bool flip, float* out,
                   std::int64_t plane) const;

  std::int64_t channels_;
  std::array<ChannelScale, 3> scales_;
  std::array<std::array<float, 256>, 3> tables_;  ///< a byte has 256 values: what each becomes
  bool is_arithmetic_exact_ = false;              ///< normalise_row gives what the tables say
};

}  // namespace bitfall
