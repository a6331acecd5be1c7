#pragma once
/// codebook_gradient and decode_blocks for weights that lie on a device, by LibTorch's operators there.
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

namespace bitfall {

/// A layer's codes on a device.
struct DeviceCodes {
  at::Tensor codes;    ///< [n] int32
  at::Tensor order;    ///< [n] int32: the blocks of codeword 0 in order, then those of codeword 1, ...
  at::Tensor members;  ///< [k] int64: how many blocks each codeword has
};
[[nodiscard]] DeviceCodes device_codes(std::span<const std::uint16_t> codes, std::int64_t k,
                                       at::Device device);

/// [k, d] in double, the bits of codebook_gradient: sums in the order of the blocks, one after the other for
/// each codeword. `dense`: n x d values. Bytes: 4 read and 4 + 8 + 8 written and read again per weight.
[[nodiscard]] at::Tensor device_codebook_gradient(const at::Tensor& dense, const DeviceCodes& codes,
                                                  std::int64_t d);

/// [n, d]: codebook[codes[i]], from [k, d].
[[nodiscard]] at::Tensor device_decode(const at::Tensor& codebook, const DeviceCodes& codes);

}  // namespace bitfall
