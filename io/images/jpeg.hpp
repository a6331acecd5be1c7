#pragma once
/// A JPEG of which a part is decoded.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "jpeg_library.hpp"
#include "window.hpp"

namespace bitfall {

/// One for each image: libjpeg keeps the quantization and Huffman tables of earlier files (for abbreviated
/// streams), so that a file that lacks its own would decode to what another image left behind, and a damaged
/// one would spoil the next.
class JpegFile {
 public:
  /// Reads the header. Throws DataError as decode_jpeg does. `bytes` must outlive it.
  JpegFile(std::span<const std::uint8_t> bytes, std::string name);

  [[nodiscard]] std::int64_t width() const { return decompressor_.width(); }
  [[nodiscard]] std::int64_t height() const { return decompressor_.height(); }

  /// The pixels of `needed`, and perhaps some around it: those of decode_jpeg, byte for byte. They lie in
  /// `memory`. Damage below `needed` is not seen, unless the file was cut. Once.
  ImagePart decode(const Window& needed, std::vector<std::uint8_t>& memory);

 private:
  std::span<const std::uint8_t> bytes_;
  std::string name_;
  JpegDecompressor decompressor_;
};

}  // namespace bitfall
