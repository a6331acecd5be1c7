#pragma once
/// The hashes of tensors that content_hash (bitfall/archive.hpp) is made from. They are not stored: the
/// content hash and the seal vouch for every byte.
#include "bitfall/quantized_layer.hpp"
#include "sha256.hpp"

namespace bitfall {

/// Of the codes as they are packed in the file.
[[nodiscard]] Digest codes_sha256(const QuantizedLayer& layer);
/// Of the k x d fp16 values, little endian.
[[nodiscard]] Digest codebook_sha256(const QuantizedLayer& layer);

}  // namespace bitfall
