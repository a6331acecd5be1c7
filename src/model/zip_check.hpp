#pragma once
#include <cstddef>
#include <functional>
#include <span>
#include <string>

namespace bitfall {

/// Reads a deflated entry by its full name; throws when it can't. An entry of `name` that comes back empty
/// counts as empty.
using InflateEntry = std::function<std::string(const std::string& name)>;

/// Checks a zip file as TorchScript uses it: the central directory, that every entry lies inside the file,
/// and the CRC-32 of every entry (tensors and pickles are stored as they are, code is deflated).
///
/// LibTorch's reader checks no CRC: a flipped bit in a weight would load silently. Returns an empty string
/// when all is well, else a clause that says what is wrong.
[[nodiscard]] std::string zip_damage(std::span<const std::byte> file, const InflateEntry& inflate);

}  // namespace bitfall
