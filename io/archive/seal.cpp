#include "seal.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "bitfall/archive.hpp"
#include "bitfall/errors.hpp"
#include "file.hpp"
#include "sha256.hpp"

namespace bitfall {
namespace {

constexpr std::string_view seal_magic{"bitfall seal 1\n\0", 16};

/// Checks what the first and the last bytes of a file alone can tell.
void require_outline(std::string_view head, std::string_view tail, const std::string& source) {
  if (!looks_like_hdf5(head))
    throw DataError(source + " is not a bitfall archive: it does not start as HDF5 does");
  constexpr auto size = static_cast<std::size_t>(seal_bytes);
  if (tail.size() < size || !tail.substr(tail.size() - size).starts_with(seal_magic))
    throw DataError(source +
                    " is HDF5 but has no bitfall seal at its end: it was truncated, changed by another "
                    "program, or is not an archive; make or copy it again");
}

}  // namespace

std::string make_seal(std::string_view image) {
  const Digest digest = sha256(image);
  return std::string(seal_magic) + std::string(digest.begin(), digest.end());
}

std::string_view unseal(std::string_view bytes, const std::string& source) {
  require_outline(bytes, bytes, source);
  const std::size_t length = bytes.size() - static_cast<std::size_t>(seal_bytes);
  if (make_seal(bytes.substr(0, length)) != bytes.substr(length))
    throw DataError(source +
                    " is damaged: its bytes do not have the SHA-256 of its seal; make or copy it again");
  return bytes.substr(0, length);
}

std::string read_sealed(const std::filesystem::path& path) {
  require_outline(read_part(path, 0, seal_bytes), read_part(path, -seal_bytes, seal_bytes), path.string());
  return read_file(path);
}

bool looks_like_hdf5(std::string_view bytes) {
  return bytes.starts_with(std::string_view{"\x89HDF\r\n\x1a\n", 8});
}

bool is_hdf5(const std::filesystem::path& path) {
  return looks_like_hdf5(read_part(path, 0, 8));
}

}  // namespace bitfall
