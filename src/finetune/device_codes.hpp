#pragma once
/// A layer's codes as kernels of a device read them (ArrayWork).
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

namespace bitfall {

struct DeviceCodes {
  at::Tensor codes;   ///< [n] int32
  at::Tensor order;   ///< [n] int32: the blocks of codeword 0 in order, then those of codeword 1, ...
  at::Tensor starts;  ///< [k + 1] int64: where each codeword's blocks begin in `order`
};
[[nodiscard]] DeviceCodes device_codes(std::span<const std::uint16_t> codes, std::int64_t k,
                                       at::Device device);

}  // namespace bitfall
