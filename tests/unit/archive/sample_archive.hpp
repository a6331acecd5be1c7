#pragma once
/// Archives of random content, and folders that clean up after themselves.
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "bitfall/archive.hpp"

namespace bitfall {

/// An empty folder that is removed, with all it contains, at the end.
class TemporaryFolder {
 public:
  TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder();
  [[nodiscard]] std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  /// Names of everything in it, sorted.
  [[nodiscard]] std::vector<std::string> names() const;

 private:
  std::filesystem::path path_;
};

/// A layer with random codes, a random finite codebook and `iterations` plausible iterations.
[[nodiscard]] QuantizedLayer random_layer(const std::string& name, const std::vector<std::int64_t>& shape,
                                          std::int64_t d, std::int64_t k, std::uint64_t seed,
                                          std::int64_t iterations = 3);

/// Rounds the layer's codebook to int8.
void make_int8(QuantizedLayer& layer);

/// A float32 tensor of random values.
[[nodiscard]] KeptTensor random_tensor(const std::string& name, const std::vector<std::int64_t>& shape,
                                       std::uint64_t seed);

/// Six layers (k = 1, k = 5 that is no power of two, k = 256, k = 2,048, one whose codes rANS shortens, one
/// with an int8 codebook), kept tensors of several types, among them a scalar, one without elements and a
/// constant, names beyond ASCII.
[[nodiscard]] Archive sample_archive();

/// The first difference in words; empty when all fields are equal. Seconds are compared as the archive
/// stores them, in fp32.
[[nodiscard]] std::string difference(const Archive& one, const Archive& other);

void write_bytes(const std::filesystem::path& path, const std::string& bytes);

/// The interpreter that BITFALL_PYTHON names, if it can import `modules` ("h5py, numpy"); else empty, and
/// the reason is printed.
[[nodiscard]] std::string python_with(const std::string& modules);

}  // namespace bitfall
