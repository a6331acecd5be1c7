#pragma once
#include <cstddef>
#include <span>
#include <string>

namespace bitfall {

/// Checks a zip file as TorchScript uses it: the central directory, that every entry lies inside the file,
/// and the CRC-32 of every entry (tensors and pickles are stored as they are, code is deflated).
///
/// LibTorch's reader checks no CRC: a flipped bit in a weight would load silently. Nor does it see every
/// fault of deflated code: a match of distance 0 leaves bytes of its buffer as the allocator gave them, so
/// the same file loads or not as memory was used before. What zlib inflates without a complaint has one
/// meaning. Returns an empty string when all is well, else a clause that says what is wrong.
[[nodiscard]] std::string zip_damage(std::span<const std::byte> file);

}  // namespace bitfall
