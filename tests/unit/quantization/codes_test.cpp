// half.cpp, codes.cpp and quantized_layer.cpp.
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include <c10/util/Half.h>

#include "bitfall/errors.hpp"
#include "bitfall/quantized_layer.hpp"
#include "catch.hpp"

using namespace bitfall;

TEST_CASE("half_to_float equals c10::Half for all 65536 patterns") {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float expected = static_cast<float>(c10::Half(half, c10::Half::from_bits()));
    const float found = half_to_float(half);
    if (std::isnan(expected))
      REQUIRE(std::isnan(found));
    else
      REQUIRE(std::bit_cast<std::uint32_t>(found) == std::bit_cast<std::uint32_t>(expected));
  }
}

TEST_CASE("float_to_half is the nearest half, ties to even, on both sides of every boundary") {
  for (std::uint32_t bits = 0; bits < 0x7bffu; ++bits) {
    const float low = half_to_float(static_cast<std::uint16_t>(bits));
    const float high = half_to_float(static_cast<std::uint16_t>(bits + 1));
    const float middle = static_cast<float>((static_cast<double>(low) + static_cast<double>(high)) / 2);
    const auto even = static_cast<std::uint16_t>(bits % 2 == 0 ? bits : bits + 1);
    REQUIRE(float_to_half(low) == bits);
    REQUIRE(float_to_half(middle) == even);
    REQUIRE(float_to_half(-middle) == (even | 0x8000u));
    REQUIRE(float_to_half(std::nextafter(middle, 0.0f)) == bits);
    REQUIRE(float_to_half(std::nextafter(middle, 1e9f)) == bits + 1);
  }
}

TEST_CASE("float_to_half equals c10::Half on random bit patterns") {
  std::mt19937 random(1);
  for (int i = 0; i < 2000000; ++i) {
    const auto value = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
    if (std::isnan(value)) continue;
    REQUIRE(float_to_half(value) == c10::Half(value).x);
  }
}

TEST_CASE("float_to_half overflows to infinity at 65520") {
  const float infinity = std::numeric_limits<float>::infinity();
  CHECK(half_to_float(float_to_half(65504.0f)) == 65504.0f);
  CHECK(float_to_half(std::nextafter(65520.0f, 0.0f)) == 0x7bff);
  CHECK(float_to_half(65520.0f) == 0x7c00);
  CHECK(float_to_half(-1e30f) == 0xfc00);
  CHECK(half_to_float(float_to_half(infinity)) == infinity);
  CHECK(std::isnan(half_to_float(float_to_half(std::numeric_limits<float>::quiet_NaN()))));
}

TEST_CASE("codes are packed bit by bit, least significant first") {
  // 1, 2, 3 in 3 bits: 001 | 010 | 011 -> 011 010 001 read from the top = 0b11010001, 0b0.
  CHECK(pack_codes(std::vector<std::uint16_t>{1, 2, 3}, 3) == std::vector<std::uint8_t>{0xd1, 0x00});
  CHECK(pack_codes(std::vector<std::uint16_t>{0x1234}, 16) == std::vector<std::uint8_t>{0x34, 0x12});
  CHECK(pack_codes(std::vector<std::uint16_t>{0, 0, 0}, 0).empty());
}

TEST_CASE("packing equals a bit by bit oracle and unpacking inverts it") {
  std::mt19937 random(2);
  for (int bits = 0; bits <= 16; ++bits)
    for (const std::size_t count : {0u, 1u, 2u, 7u, 8u, 9u, 63u, 1000u}) {
      std::vector<std::uint16_t> codes(count);
      for (auto& code : codes) code = static_cast<std::uint16_t>(random() & ((1u << bits) - 1u));
      std::vector<std::uint8_t> expected((count * static_cast<std::size_t>(bits) + 7) / 8, 0);
      for (std::size_t i = 0; i < count; ++i)
        for (int b = 0; b < bits; ++b) {
          const std::size_t position = i * static_cast<std::size_t>(bits) + static_cast<std::size_t>(b);
          if ((codes[i] >> b) & 1)
            expected[position / 8] = static_cast<std::uint8_t>(expected[position / 8] | (1 << position % 8));
        }
      const auto packed = pack_codes(codes, bits);
      REQUIRE(packed == expected);
      REQUIRE(unpack_codes(packed, static_cast<std::int64_t>(count), bits) == codes);
    }
}

TEST_CASE("unpacking refuses a wrong size, impossible arguments and dirty padding") {
  const std::vector<std::uint8_t> bytes{0xff, 0x01};
  CHECK(unpack_codes(bytes, 3, 3) == std::vector<std::uint16_t>{7, 7, 7});
  CHECK_THROWS_AS(unpack_codes(bytes, 6, 3), DataError);
  CHECK_THROWS_AS(unpack_codes(bytes, 2, 3), DataError);
  CHECK_THROWS_AS(unpack_codes(bytes, -1, 3), DataError);
  CHECK_THROWS_AS(unpack_codes(bytes, 3, 17), DataError);
  CHECK_THROWS_AS(unpack_codes(bytes, std::numeric_limits<std::int64_t>::max(), 16), DataError);
  CHECK_THROWS_AS(unpack_codes(std::vector<std::uint8_t>{0xff, 0x03}, 3, 3), DataError);
  CHECK_THROWS_AS(pack_codes(std::vector<std::uint16_t>{8}, 3), InternalError);
}

TEST_CASE("decode puts codeword codes[r*m+j] at columns j*d of row r") {
  QuantizedLayer layer;
  layer.name = "conv";
  layer.weight_shape = {2, 4};
  layer.d = 2;
  layer.k = 3;
  layer.codebook = {float_to_half(1), float_to_half(2),    float_to_half(-3),
                    float_to_half(4), float_to_half(0.5f), float_to_half(6)};
  layer.codes = {2, 0, 1, 1};
  CHECK(layer.elements() == 8);
  CHECK(layer.code_bits() == 2);
  CHECK(decode(layer) == std::vector<float>{0.5f, 6, 1, 2, -3, 4, -3, 4});
  layer.codes[3] = 3;
  CHECK_THROWS_AS(decode(layer), DataError);
  layer.codes = {2, 0, 1};
  CHECK_THROWS_AS(decode(layer), DataError);
}

TEST_CASE("code_bits is the smallest width that holds k - 1") {
  QuantizedLayer layer;
  for (const auto& [k, bits] : std::vector<std::pair<std::int64_t, int>>{
           {1, 0}, {2, 1}, {3, 2}, {4, 2}, {5, 3}, {256, 8}, {257, 9}, {65536, 16}}) {
    layer.k = k;
    CHECK(layer.code_bits() == bits);
  }
}
