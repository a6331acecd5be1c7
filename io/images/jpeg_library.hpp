#pragma once
/// libjpeg, whose errors are long jumps, as calls that return false. What is an error is decided here; sizes
/// and colours are jpeg.cpp's business.
#include <cstdint>
#include <memory>
#include <span>

#include "window.hpp"

namespace bitfall {

/// Decompresses one JPEG with the choices of Pillow and TurboJPEG: accurate DCT, smooth chroma upsampling.
/// The calls in this order; after one that returned false only error() may be asked.
class JpegDecompressor {
 public:
  explicit JpegDecompressor(std::span<const std::uint8_t> bytes);
  ~JpegDecompressor();
  JpegDecompressor(const JpegDecompressor&) = delete;
  JpegDecompressor& operator=(const JpegDecompressor&) = delete;

  [[nodiscard]] bool read_header();
  [[nodiscard]] std::int64_t width() const;
  [[nodiscard]] std::int64_t height() const;
  [[nodiscard]] bool is_cmyk() const;

  /// RGB, or inverted CMYK samples where is_cmyk(). Chooses the part that read() will decode, which has
  /// `needed` and perhaps more around it: part().
  [[nodiscard]] bool start(const Window& needed);
  [[nodiscard]] const Window& part() const;
  /// The part's pixels, row major, interleaved, byte for byte those of the whole picture. What lies above and
  /// beside it is read too, only not turned into pixels: damage there is an error. Below it nothing is read
  /// but that the end marker is there.
  [[nodiscard]] bool read(std::uint8_t* pixels);

  /// Why a call returned false.
  [[nodiscard]] const char* error() const;
  /// Whether there were stray bytes in front of the end marker, the one kind of damage that is no error.
  [[nodiscard]] bool had_stray_bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace bitfall
