// coded_codes.cpp and rans.cpp: lossless, never larger than packed, close to the entropy, deaf to damage.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "bitfall/coded_codes.hpp"
#include "bitfall/errors.hpp"
#include "bitfall/quantized_layer.hpp"
#include "catch.hpp"
#include "quantization/frequency_table.hpp"
#include "quantization/rans.hpp"

using namespace bitfall;

namespace {

using Codes = std::vector<std::uint16_t>;

/// `count` codes below k; a larger `skew` makes low codes more frequent, 0 makes all alike.
Codes random_codes(std::size_t count, std::int64_t k, double skew, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> uniform;
  Codes codes(count);
  for (std::uint16_t& code : codes)
    code = static_cast<std::uint16_t>(
        std::min<double>(double(k - 1), double(k) * std::pow(uniform(random), 1 + skew)));
  return codes;
}

/// A model of the coder that is as slow and obvious as it gets: the state is looked up, not computed.
/// Decoding lists, for every slot, the code and what becomes of the state.
Codes slow_decode(std::vector<std::uint8_t> bytes, std::size_t count, const FrequencyTable& table) {
  std::vector<std::pair<std::uint16_t, std::uint64_t>> slots;  // code, place within the code's slots
  for (std::size_t code = 0; code < table.frequencies.size(); ++code)
    for (std::uint64_t place = 0; place < table.frequencies[code]; ++place)
      slots.emplace_back(static_cast<std::uint16_t>(code), place);
  std::uint64_t state = 0;
  for (int i = 3; i >= 0; --i) state = state * 256 + bytes[static_cast<std::size_t>(i)];
  bytes.erase(bytes.begin(), bytes.begin() + 4);
  Codes codes;
  while (codes.size() < count) {
    const auto [code, place] = slots.at(state % slots.size());
    codes.push_back(code);
    state = table.frequencies[code] * (state / slots.size()) + place;
    if (state < 65536) {
      state = state * 65536 + bytes.at(0) + 256u * bytes.at(1);
      bytes.erase(bytes.begin(), bytes.begin() + 2);
    }
  }
  CHECK(state == 65536);
  CHECK(bytes.empty());
  return codes;
}

void check_lossless(const Codes& codes, std::int64_t k) {
  const CodedCodes coded = encode_codes(codes, k);
  INFO(codes.size() << " codes, k " << k << ", " << to_string(coded.coding));
  REQUIRE(decode_codes(coded.coding, coded.bytes, static_cast<std::int64_t>(codes.size()), k) == codes);
  const std::size_t packed = pack_codes(codes, code_bits(k)).size();
  CHECK((coded.coding == Coding::packed ? coded.bytes.size() == packed : coded.bytes.size() < packed));
}

/// Codes through rANS whether that pays or not.
void check_rans(const Codes& codes, std::int64_t k, int bits) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(k));
  for (const std::uint16_t code : codes) ++counts[code];
  const FrequencyTable table = quantize_counts(counts, bits);
  const std::vector<std::uint8_t> bytes = rans_encode(codes, table);
  INFO(codes.size() << " codes, k " << k << ", bits " << bits);
  REQUIRE(rans_decode(bytes, static_cast<std::int64_t>(codes.size()), table) == codes);
  if (codes.size() <= 3000) REQUIRE(slow_decode(bytes, codes.size(), table) == codes);
  double entropy = 0;
  for (std::size_t code = 0; code < counts.size(); ++code)
    if (counts[code] > 0)
      entropy += double(counts[code]) * (bits - std::log2(double(table.frequencies[code])));
  // 32 bits of state, of which 16 say something. The state is divided with 16 - bits fractional bits or more,
  // so the finest tables lose a little: below 2^-7 of a bit a code.
  CHECK(double(bytes.size()) <= entropy / 8 + 5 + double(codes.size()) * std::exp2(bits - 26));
}

}  // namespace

TEST_CASE("codes of every k and number come back as they were") {
  for (const std::int64_t k : {1, 2, 3, 4, 5, 255, 256, 257, 2048, 65535, 65536})
    for (const std::size_t count : {0u, 1u, 2u, 3u, 100u, 4096u, 20000u})
      for (const double skew : {0.0, 2.0, 30.0}) check_lossless(random_codes(count, k, skew, count), k);
}

TEST_CASE("one code only, and one code among many of another") {
  for (const std::int64_t k : {2, 3, 256, 65536}) {
    check_lossless(Codes(10000, static_cast<std::uint16_t>(k - 1)), k);
    Codes codes(10000, 0);
    codes[7777] = static_cast<std::uint16_t>(k - 1);
    check_lossless(codes, k);
  }
  // All of a million codes are the same: the table says it, the stream is the state that nothing moves.
  const CodedCodes same = encode_codes(Codes(1000000, 3), 256);
  CHECK(same.coding == Coding::rans);
  CHECK(same.bytes.size() < 50);
}

TEST_CASE("every code once, and every code but one") {
  Codes all(65536);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::uint16_t>(i * 40503u);
  check_lossless(all, 65536);
  check_rans(all, 65536, 16);
  all[5] = all[6];
  check_lossless(all, 65536);
  check_rans(all, 65536, 16);
}

TEST_CASE("rANS equals a decoder that looks everything up, at every precision") {
  for (const int bits : {0, 1, 2, 8, 12, 15, 16})
    for (const double skew : {0.0, 1.0, 8.0}) {
      const std::int64_t k = std::int64_t{1} << std::min(bits, 11);
      check_rans(random_codes(1, k, skew, 1), k, bits);
      check_rans(random_codes(3000, k, skew, 2), k, bits);
      check_rans(random_codes(100000, k, skew, 3), k, bits);
    }
}

TEST_CASE(
    "coded codes are within a quarter of a percent and the table of their entropy, and are a pure function") {
  const Codes codes = random_codes(200000, 256, 1.0, 5);
  const double entropy_bytes = code_entropy(codes, 256) * double(codes.size()) / 8;
  const CodedCodes coded = encode_codes(codes, 256);
  CHECK(coded.coding == Coding::rans);
  CHECK(double(coded.bytes.size()) > entropy_bytes);
  CHECK(double(coded.bytes.size()) < 1.0025 * entropy_bytes + 100);
  CHECK(encode_codes(codes, 256).bytes == coded.bytes);
}

TEST_CASE("uniform codes stay packed") {
  CHECK(encode_codes(random_codes(4096, 256, 0, 1), 256).coding == Coding::packed);
  CHECK(encode_codes(random_codes(100, 65536, 0, 1), 65536).coding == Coding::packed);
  CHECK(encode_codes({}, 256).bytes.empty());
  CHECK(encode_codes(Codes(50, 0), 1).bytes.empty());
}

TEST_CASE("the entropy of known shares") {
  CHECK(code_entropy({}, 4) == 0);
  CHECK(code_entropy(Codes{2, 2, 2}, 4) == 0);
  CHECK(code_entropy(Codes{0, 1, 2, 3}, 4) == 2);
  CHECK(code_entropy(Codes{0, 0, 1, 2}, 4) == 1.5);
}

TEST_CASE("damaged coded codes are refused or decode to as many codes below k") {
  std::mt19937_64 random(9);
  for (const std::int64_t k : {2, 100, 256, 3000}) {
    const Codes codes = random_codes(9000, k, 3.0, 7);
    const auto count = static_cast<std::int64_t>(codes.size());
    const CodedCodes good = encode_codes(codes, k);
    REQUIRE(good.coding == Coding::rans);
    for (int i = 0; i < 2000; ++i) {
      std::vector<std::uint8_t> bad = good.bytes;
      // The table is small; half of the attempts aim at it.
      const std::size_t place = random() % (i % 2 == 0 ? std::min<std::size_t>(bad.size(), 200) : bad.size());
      bad[place] = static_cast<std::uint8_t>(bad[place] ^ (1u << random() % 8));
      try {
        const Codes found = decode_codes(Coding::rans, bad, count, k);
        REQUIRE(found.size() == codes.size());
        REQUIRE(std::all_of(found.begin(), found.end(), [k](std::uint16_t code) { return code < k; }));
      } catch (const DataError&) {
      }
      bad.resize(place);
      CHECK_THROWS_AS(decode_codes(Coding::rans, bad, count, k), DataError);
    }
    std::vector<std::uint8_t> longer = good.bytes;
    longer.insert(longer.end(), {0, 0});
    CHECK_THROWS_AS(decode_codes(Coding::rans, longer, count, k), DataError);
    CHECK_THROWS_AS(decode_codes(Coding::rans, good.bytes, count + 1, k), DataError);
    CHECK_THROWS_AS(decode_codes(Coding::rans, good.bytes, count - 1, k), DataError);
    CHECK_THROWS_AS(decode_codes(Coding::rans, good.bytes, count, k + 1), DataError);
  }
}

// A flipped bit may turn one code into another that is as frequent: that is a valid stream, of other codes.
TEST_CASE("no stream is accepted that the encoder would not have made") {
  const FrequencyTable table = quantize_counts(std::vector<std::int64_t>{50, 20, 20, 5, 5, 0, 1}, 10);
  const Codes codes = [] {
    Codes all;
    for (int i = 0; i < 400; ++i)
      all.push_back(std::vector<std::uint16_t>{0, 1, 0, 2, 0, 3, 6, 4, 2, 1}[i * i % 10]);
    return all;
  }();
  const std::vector<std::uint8_t> good = rans_encode(codes, table);
  std::size_t refused = 0, accepted = 0;
  for (std::size_t place = 0; place < good.size(); ++place)
    for (int bit = 0; bit < 8; ++bit) {
      std::vector<std::uint8_t> bad = good;
      bad[place] = static_cast<std::uint8_t>(bad[place] ^ (1u << bit));
      try {
        const Codes found = rans_decode(bad, static_cast<std::int64_t>(codes.size()), table);
        REQUIRE(found != codes);
        REQUIRE(rans_encode(found, table) == bad);
        ++accepted;
      } catch (const DataError&) {
        ++refused;
      }
    }
  CHECK(refused > accepted);
  CHECK(accepted > 0);
}

TEST_CASE("bytes of chance are refused") {
  std::mt19937_64 random(10);
  for (int i = 0; i < 20000; ++i) {
    std::vector<std::uint8_t> bytes(random() % 64);
    for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
    if (i % 2 == 0 && bytes.size() > 1) bytes[0] %= 17, bytes[1] &= 0x11;
    const auto k = static_cast<std::int64_t>(1 + random() % (i % 3 == 0 ? 65536 : 8));
    try {
      const Codes found = decode_codes(Coding::rans, bytes, 10, k);
      REQUIRE(std::all_of(found.begin(), found.end(), [k](std::uint16_t code) { return code < k; }));
    } catch (const DataError&) {
    }
  }
}

TEST_CASE("impossible arguments and unknown names are the file's fault, packed codes without codeword too") {
  CHECK_THROWS_AS(decode_codes(Coding::packed, {}, 1, 0), DataError);
  CHECK_THROWS_AS(decode_codes(Coding::rans, {}, 1, 65537), DataError);
  CHECK_THROWS_AS(decode_codes(Coding::rans, {}, -1, 2), DataError);
  CHECK_THROWS_AS(decode_codes(Coding::rans, {}, 1, 2), DataError);
  CHECK_THROWS_AS(decode_codes(Coding::packed, std::vector<std::uint8_t>{3}, 1, 3), DataError);
  CHECK(coding_from_string("rans") == Coding::rans);
  CHECK(coding_from_string("packed") == Coding::packed);
  CHECK_THROWS_AS(coding_from_string("huffman"), DataError);
}

// docs/format.md shows these bytes.
TEST_CASE("a stream worked out by hand") {
  // b = 2, order 0, no flag; frequencies 3, 1, 0 around the mean 4 div 3 = 1: z = 4, 0, 1.
  // 4 -> u = 5 (101): 110 01 (low bits of u, least first: 1, 0), i.e. bits 1 1 0 1 0; 0 -> u = 1: 0;
  // 1 -> u = 2 (10): 1 0 0. Stream 1 1 0 1 0 0 1 0 | 0: bytes 0b01001011, 0.
  const FrequencyTable table{2, {3, 1, 0}};
  const TableCoding coding{false, 0, 0};
  CHECK(write_table(table, coding) == std::vector<std::uint8_t>{2, 0, 0x4b, 0});
  // Codes 0, 1 from the last: x = 65536; 1: 4 * 65536 + 0 + 3 = 262147; 0: 4 * 87382 + 1 + 0 = 349529.
  CHECK(rans_encode(Codes{0, 1}, table) == std::vector<std::uint8_t>{0x59, 0x55, 0x05, 0x00});
  CHECK(decode_codes(Coding::rans, std::vector<std::uint8_t>{2, 0, 0x4b, 0, 0x59, 0x55, 5, 0}, 2, 3) ==
        Codes{0, 1});
}
