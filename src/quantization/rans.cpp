/// rANS with one state of 32 bits and words of 16 bits (Duda, arXiv 1311.2540, section 3; the idea to keep
/// the state above 2^16 and to move whole words: F. Giesen, "Interleaved entropy coders", arXiv 1402.3392).
/// Code c owns f_c of the M = 2^b slots, beginning with slot s_c = f_0 + ... + f_(c-1). With x the state:
///   decode: c is the owner of slot x mod M;  x <- f_c (x div M) + x mod M - s_c;  x < 2^16: x <- 2^16 x +
///   word encode, its inverse, from the last code to the first: x >= f_c 2^(32-b): word <- x mod 2^16, x <- x
///   div 2^16;
///           x <- M (x div f_c) + x mod f_c + s_c
/// The state is in [2^16, 2^32) before and after each code. The encoder begins with 2^16, so the decoder must
/// end there. Bytes: the decoder's first state, then the words in its order, all little endian.
#include "quantization/rans.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "bitfall/errors.hpp"

namespace bitfall {
namespace {

constexpr std::uint32_t least_state = std::uint32_t{1} << 16;

/// s_c of every code.
std::vector<std::uint32_t> first_slots(const FrequencyTable& table) {
  std::vector<std::uint32_t> first(table.frequencies.size());
  std::exclusive_scan(table.frequencies.begin(), table.frequencies.end(), first.begin(), std::uint32_t{0});
  return first;
}

void require(bool condition, const char* what) {
  if (!condition) throw DataError(std::string("coded codes: ") + what + "; the file is damaged");
}

}  // namespace

std::vector<std::uint8_t> rans_encode(std::span<const std::uint16_t> codes, const FrequencyTable& table) {
  const std::vector<std::uint32_t> first = first_slots(table);
  std::vector<std::uint8_t> backwards;
  const auto put_word = [&](std::uint32_t word) {
    backwards.push_back(static_cast<std::uint8_t>(word >> 8 & 0xffu));
    backwards.push_back(static_cast<std::uint8_t>(word & 0xffu));
  };
  std::uint32_t state = least_state;
  for (std::size_t i = codes.size(); i-- > 0;) {
    const std::uint16_t code = codes[i];
    const std::uint32_t frequency = table.frequencies[code];
    BITFALL_ASSERT(frequency > 0, "code " + std::to_string(code) + " has no slot");
    if (state >= std::uint64_t{frequency} << (32 - table.bits)) {
      put_word(state);
      state >>= 16;
    }
    state = (state / frequency << table.bits) + state % frequency + first[code];
  }
  put_word(state >> 16);
  put_word(state);
  std::reverse(backwards.begin(), backwards.end());
  return backwards;
}

// n codes: a table of 2^b owners (at most 128 kB, in the second-level cache) is read at random places.
std::vector<std::uint16_t> rans_decode(std::span<const std::uint8_t> bytes, std::int64_t count,
                                       const FrequencyTable& table) {
  const std::vector<std::uint32_t> first = first_slots(table);
  std::vector<std::uint16_t> owner;
  owner.reserve(std::size_t{1} << table.bits);
  for (std::size_t code = 0; code < table.frequencies.size(); ++code)
    owner.insert(owner.end(), table.frequencies[code], static_cast<std::uint16_t>(code));
  require(bytes.size() >= 4 && bytes.size() % 2 == 0, "they are cut off");
  std::size_t next = 0;
  const auto take_word = [&] {
    const std::uint32_t word = bytes[next] | std::uint32_t{bytes[next + 1]} << 8;
    next += 2;
    return word;
  };
  std::uint32_t state = take_word();
  state |= take_word() << 16;
  require(state >= least_state, "the state they begin with is impossible");
  const std::uint32_t mask = (std::uint32_t{1} << table.bits) - 1u;
  std::vector<std::uint16_t> codes(static_cast<std::size_t>(count));
  for (std::uint16_t& code : codes) {
    const std::uint32_t slot = state & mask;
    code = owner[slot];
    state = table.frequencies[code] * (state >> table.bits) + slot - first[code];
    if (state < least_state) {
      require(next < bytes.size(), "they end before the last code");
      state = state << 16 | take_word();
    }
  }
  require(next == bytes.size(), "there are bytes after the last code");
  require(state == least_state, "they do not end where they began");
  return codes;
}

}  // namespace bitfall
