#include <zlib.h>

#include <string>

#include "catch.hpp"
#include "model/zip_check.hpp"

namespace bitfall::test {
namespace {

std::string little_endian(std::uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i, value >>= 8) text.push_back(static_cast<char>(value & 0xFF));
  return text;
}

/// CRC-32 bit by bit: slow and obvious.
std::uint32_t plain_crc(const std::string& data) {
  std::uint32_t crc = 0xFFFFFFFFU;
  for (const char byte : data) {
    crc ^= static_cast<unsigned char>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1U) != 0 ? (crc >> 1) ^ 0xEDB88320U : crc >> 1;
  }
  return ~crc;
}

/// A zip file of one entry "a", stored or (`method` 8) deflated to `stored`; `zip64` writes all
/// sizes and offsets in zip64 records.
std::string zip_of(const std::string& data, bool zip64, int method, const std::string& stored) {
  const std::string crc = little_endian(plain_crc(data), 4);
  const auto size32 = [&](std::uint64_t value) { return little_endian(zip64 ? 0xFFFFFFFF : value, 4); };
  const std::string kind =
      little_endian(0, 2) + little_endian(static_cast<std::uint64_t>(method), 2) + little_endian(0, 4);
  const std::string local = "PK\3\4" + little_endian(45, 2) + kind + crc + little_endian(stored.size(), 4) +
                            little_endian(data.size(), 4) + little_endian(1, 2) + little_endian(0, 2) + "a" +
                            stored;
  const std::string extra = !zip64
                                ? ""
                                : little_endian(1, 2) + little_endian(24, 2) + little_endian(data.size(), 8) +
                                      little_endian(stored.size(), 8) + little_endian(0, 8);
  const std::string entry = "PK\1\2" + little_endian(45, 2) + little_endian(45, 2) + kind + crc +
                            size32(stored.size()) + size32(data.size()) + little_endian(1, 2) +
                            little_endian(extra.size(), 2) + std::string(10, '\0') + size32(0) + "a" + extra;
  std::string file = local + entry;
  if (zip64) {
    const std::uint64_t end64 = file.size();
    file += "PK\6\6" + little_endian(44, 8) + std::string(12, '\0') + little_endian(1, 8) +
            little_endian(1, 8) + little_endian(entry.size(), 8) + little_endian(local.size(), 8);
    file += "PK\6\7" + little_endian(0, 4) + little_endian(end64, 8) + little_endian(1, 4);
  }
  return file + "PK\5\6" + little_endian(0, 4) + little_endian(1, 2) + little_endian(1, 2) +
         size32(entry.size()) + size32(local.size()) + little_endian(0, 2);
}

std::string zip_of(const std::string& data, bool zip64) {
  return zip_of(data, zip64, 0, data);
}

std::string damage_of(const std::string& file) {
  return zip_damage(std::as_bytes(std::span(file)));
}

std::string deflated(const std::string& data) {
  std::string stored(compressBound(data.size()), '\0');
  uLongf size = stored.size();
  REQUIRE(compress(reinterpret_cast<Bytef*>(stored.data()), &size,
                   reinterpret_cast<const Bytef*>(data.data()), data.size()) == Z_OK);
  return stored.substr(2, size - 6);  // without zlib's header and checksum
}

}  // namespace

TEST_CASE("the checksum of the standard's test text", "[zip]") {
  CHECK(plain_crc("123456789") == 0xCBF43926U);
}

TEST_CASE("sound zip files of every length", "[zip]") {
  std::string data;
  for (int size = 0; size < 40; ++size) {
    CHECK(damage_of(zip_of(data, false)).empty());
    CHECK(damage_of(zip_of(data, true)).empty());
    data.push_back(static_cast<char>(size * 37));
  }
}

TEST_CASE("every flipped bit of the data is found", "[zip]") {
  const std::string data = "some bytes of a weight, more than eight";
  for (const bool zip64 : {false, true}) {
    const std::string file = zip_of(data, zip64);
    const std::size_t first = file.find(data);
    for (std::size_t bit = 0; bit < data.size() * 8; ++bit) {
      std::string damaged = file;
      damaged[first + bit / 8] = static_cast<char>(damaged[first + bit / 8] ^ (1 << (bit % 8)));
      CHECK(damage_of(damaged) == "its entry 'a' is damaged (size or checksum differ)");
    }
  }
}

TEST_CASE("deflated entries are compared with what they inflate to", "[zip]") {
  std::string longer;  // more than one piece of the inflater
  for (int i = 0; i < 200'000; ++i) longer.push_back(static_cast<char>(i * i >> 3));
  for (const std::string& data : {std::string(), std::string("the content"), longer}) {
    const std::string stored = deflated(data);
    CHECK(damage_of(zip_of(data, false, 8, stored)).empty());
    CHECK(damage_of(zip_of(data, true, 8, stored)).empty());
    CHECK(damage_of(zip_of(data + " ", false, 8, stored)) ==
          "its entry 'a' is damaged (size or checksum differ)");
    CHECK(damage_of(zip_of(data, false, 8, stored.substr(0, stored.size() - 1))) ==
          "its entry 'a' can't be decompressed");
    CHECK(damage_of(zip_of(data, false, 12, stored)) == "its entry 'a' can't be decompressed");
  }
  CHECK(damage_of(zip_of("the c0ntent", false, 8, deflated("the content"))) ==
        "its entry 'a' is damaged (size or checksum differ)");
}

// RFC 1951, section 3.2.5: distance codes 30 and 31 never occur. LibTorch's reader takes them for a distance
// of 0.
TEST_CASE("a match of no distance can't be decompressed, whatever memory holds", "[zip]") {
  // Bits from the lowest on: last block 1, fixed codes 01; 'a' 10010001; a match of three bytes 0000001,
  // distance code 30, 11110; end 0000000.
  const std::string stored("\x4b\x04\x3e\x00", 4);
  CHECK(damage_of(zip_of("aaaa", false, 8, stored)) == "its entry 'a' can't be decompressed");
}

TEST_CASE("a file that the directory calls a folder is found", "[zip]") {
  std::string file = zip_of("data", false);
  file[file.find("PK\1\2") + 38] = 0x10;
  CHECK(damage_of(file) == "its zip directory calls a file a folder");
}

TEST_CASE("no truncation and no broken byte makes the check read outside", "[zip]") {
  for (const bool zip64 : {false, true}) {
    const std::string file = zip_of("0123456789", zip64);
    for (std::size_t size = 0; size < file.size(); ++size)
      CHECK_FALSE(damage_of(file.substr(0, size)).empty());
    for (std::size_t place = 0; place < file.size(); ++place) {
      std::string damaged = file;
      damaged[place] = static_cast<char>(0xFF);
      (void)damage_of(damaged);  // under the address sanitizer: no access outside
    }
  }
}

}  // namespace bitfall::test
