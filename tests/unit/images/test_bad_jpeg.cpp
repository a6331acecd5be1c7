// What is no JPEG, or not a whole one, is an error that names it; never a crash, never grey pixels.
#include <thread>

#include "bitfall/errors.hpp"
#include "bitfall/random.hpp"
#include "catch.hpp"
#include "sample_images.hpp"
#include "temporary_folder.hpp"

namespace bitfall::test {

namespace {

/// The message of the DataError; empty when there is none. Any other exception ends the test.
std::string decode_error(const std::string& jpeg) {
  try {
    const Image image = decode_jpeg(as_bytes(jpeg), "shard.tar: key.jpg");
    REQUIRE(static_cast<std::int64_t>(image.pixels.size()) == image.width * image.height * 3);
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

/// Where the first marker FF `type` begins.
std::size_t marker(const std::string& jpeg, unsigned char type) {
  const char bytes[2] = {static_cast<char>(0xFF), static_cast<char>(type)};
  const auto at = jpeg.find(std::string(bytes, 2));
  REQUIRE(at != std::string::npos);
  return at;
}

std::string with_size(std::string jpeg, int width, int height) {
  const std::size_t at = marker(jpeg, 0xC0) + 5;  // SOF0: length, precision, then the sides
  jpeg[at] = static_cast<char>(height >> 8), jpeg[at + 1] = static_cast<char>(height);
  jpeg[at + 2] = static_cast<char>(width >> 8), jpeg[at + 3] = static_cast<char>(width);
  return jpeg;
}

}  // namespace

TEST_CASE("a JPEG that is cut anywhere is an error that names it") {
  const std::string whole = sample_jpeg(37, 29, 1);
  REQUIRE(decode_error(whole).empty());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const std::string message = decode_error(whole.substr(0, size));
    INFO("the first " << size << " of " << whole.size() << " bytes: " << message);
    REQUIRE(message.starts_with("shard.tar: key.jpg: not a usable JPEG ("));
  }
}

TEST_CASE("an impossible or foreign file is an error") {
  const std::string whole = sample_jpeg(37, 29, 1);
  CHECK(decode_error("").find("empty") != std::string::npos);
  CHECK(decode_error("\x89PNG\r\n\x1a\n and so on").find("begin like a JPEG") != std::string::npos);
  CHECK(decode_error(std::string(100, '\xFF')).find("begin like a JPEG") != std::string::npos);
  CHECK_FALSE(decode_error("\xFF\xD8\xFF\xD9").empty());
  CHECK_FALSE(decode_error(with_size(whole, 0, 29)).empty());
  CHECK_FALSE(decode_error(with_size(whole, 37, 0)).empty());
  INFO(decode_error(with_size(whole, 65500, 65500)));
  CHECK(decode_error(with_size(whole, 65500, 65500)).find("limit of 2^28") != std::string::npos);
  CHECK_FALSE(decode_error(with_size(whole, 370, 290)).empty());  // fewer coefficients than pixels
  std::string twelve_bits = whole;
  twelve_bits[marker(whole, 0xC0) + 4] = 12;
  CHECK_FALSE(decode_error(twelve_bits).empty());
}

TEST_CASE("an image never decodes with the tables of the one before it") {
  const std::string whole = sample_jpeg(37, 29, 1);
  for (const unsigned char type : {0xDB, 0xC4}) {  // quantization tables, Huffman tables
    std::string without = whole;
    const char bytes[2] = {static_cast<char>(0xFF), static_cast<char>(type)};
    for (std::size_t at = 0; (at = without.find(std::string(bytes, 2))) != std::string::npos;) {
      const auto length =
          static_cast<unsigned char>(without[at + 2]) * 256 + static_cast<unsigned char>(without[at + 3]);
      without.erase(at, static_cast<std::size_t>(length) + 2);
    }
    const auto pixels = [&] {
      try {
        return decode_jpeg(as_bytes(without), "x").pixels;
      } catch (const DataError&) {
        return std::vector<std::uint8_t>();
      }
    };
    std::vector<std::uint8_t> alone;
    std::thread([&] { alone = pixels(); }).join();
    REQUIRE(decode_error(whole).empty());
    CHECK(pixels() == alone);
  }
}

TEST_CASE("flipped bits never crash, and a decoder that failed decodes the next image") {
  const std::string whole = sample_jpeg(48, 40, 3);
  const Image expected = decode_jpeg(as_bytes(whole), "whole");
  int errors = 0;
  for (std::uint64_t trial = 0; trial < 3000; ++trial) {
    std::string damaged = whole;
    for (std::uint64_t flip = 0; flip <= trial % 4; ++flip) {
      const auto bit = random_below(trial, 1, flip, whole.size() * 8);
      damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    }
    // A flip in the size of the image costs memory and time, nothing else.
    if (!decode_error(damaged).empty()) ++errors;
    if (trial % 100 == 0) REQUIRE(decode_jpeg(as_bytes(whole), "whole").pixels == expected.pixels);
  }
  CHECK(errors > 500);
}

}  // namespace bitfall::test
