#pragma once
/// The seal: 48 bytes after the HDF5 data, 16 of magic and a SHA-256 of everything before them.
///
/// HDF5 ignores what follows its own end of file. A damaged or truncated file is recognised before a single
/// byte of it reaches the HDF5 library, whose parser is not made for hostile input.
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace bitfall {

constexpr std::int64_t seal_bytes = 48;

/// The 48 bytes that seal `image`.
[[nodiscard]] std::string make_seal(std::string_view image);

/// The sealed part of a file's bytes. Throws DataError that begins with `source` when they are not HDF5, have
/// no seal, or another content than was sealed.
[[nodiscard]] std::string_view unseal(std::string_view bytes, const std::string& source);

/// All bytes of a file that has a seal; whether it is intact is unseal's to say. A large HDF5 file without a
/// seal (a run file) is refused before it is read.
[[nodiscard]] std::string read_sealed(const std::filesystem::path& path);

}  // namespace bitfall
