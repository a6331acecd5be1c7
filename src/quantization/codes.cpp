/// Codes as a stream of bits: code i occupies the bits [i*b, (i+1)*b), least significant first.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "bitfall/errors.hpp"
#include "bitfall/quantized_layer.hpp"

namespace bitfall {
namespace {

/// Bytes of `count` codes, without overflow for any count that fits a 64-bit size.
std::uint64_t packed_bytes(std::uint64_t count, int bits) {
  const auto width = static_cast<std::uint64_t>(bits);
  return count / 8 * width + (count % 8 * width + 7) / 8;
}

}  // namespace

std::vector<std::uint8_t> pack_codes(std::span<const std::uint16_t> codes, int bits) {
  BITFALL_ASSERT(bits >= 0 && bits <= 16, "bits = " + std::to_string(bits));
  std::vector<std::uint8_t> bytes;
  bytes.reserve(packed_bytes(codes.size(), bits));
  std::uint32_t pending = 0;  // at most 7 + 16 bits
  int held = 0;
  for (const std::uint16_t code : codes) {
    BITFALL_ASSERT((code >> bits) == 0,
                   "code " + std::to_string(code) + " needs more than " + std::to_string(bits) + " bits");
    pending |= static_cast<std::uint32_t>(code) << held;
    for (held += bits; held >= 8; held -= 8, pending >>= 8)
      bytes.push_back(static_cast<std::uint8_t>(pending & 0xffu));
  }
  if (held > 0) bytes.push_back(static_cast<std::uint8_t>(pending));
  return bytes;
}

std::vector<std::uint16_t> unpack_codes(std::span<const std::uint8_t> bytes, std::int64_t count, int bits) {
  if (bits < 0 || bits > 16 || count < 0)
    throw DataError("packed codes: " + std::to_string(count) + " codes of " + std::to_string(bits) +
                    " bits are not possible (0 to 16 bits); the file is damaged");
  const std::uint64_t expected = packed_bytes(static_cast<std::uint64_t>(count), bits);
  if (bytes.size() != expected)
    throw DataError("packed codes: " + std::to_string(count) + " codes of " + std::to_string(bits) +
                    " bits need " + std::to_string(expected) + " bytes, found " +
                    std::to_string(bytes.size()) + "; the file is damaged");
  std::vector<std::uint16_t> codes(static_cast<std::size_t>(count));
  const std::uint32_t mask = (std::uint32_t{1} << bits) - 1u;
  std::uint32_t pending = 0;
  int held = 0;
  std::size_t next = 0;
  for (std::uint16_t& code : codes) {
    for (; held < bits; held += 8) pending |= static_cast<std::uint32_t>(bytes[next++]) << held;
    code = static_cast<std::uint16_t>(pending & mask);
    pending >>= bits;
    held -= bits;
  }
  if (pending != 0)
    throw DataError("packed codes: the padding after the last code is not zero; the file is damaged");
  return codes;
}

}  // namespace bitfall
