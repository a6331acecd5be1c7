#pragma once
#include <cstddef>
#include <span>
#include <string>

namespace bitfall {

/// Checks the structure of a zip file as TorchScript uses it: the central directory, that every entry lies
/// inside the file, and the CRC-32 of every entry that is stored uncompressed (all tensors are).
///
/// LibTorch's reader checks no CRC: a flipped bit in a weight would load silently. Returns an empty string
/// when all is well, else one sentence that says what is wrong.
[[nodiscard]] std::string zip_damage(std::span<const std::byte> file);

}  // namespace bitfall
