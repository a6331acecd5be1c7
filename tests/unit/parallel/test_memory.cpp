#include <cstdint>
#include <vector>

#include "catch.hpp"
#include "parallel/memory.hpp"

TEST_CASE("resident memory follows what is touched and given back") {
  bitfall::configure_allocator();
  constexpr std::int64_t size = 64 << 20;
  const std::int64_t before = bitfall::current_rss_bytes();
  REQUIRE(before > 0);
  {
    const std::vector<char> buffer(size, 'x');
    REQUIRE(bitfall::current_rss_bytes() >= before + size * 9 / 10);
    REQUIRE(buffer[size - 1] == 'x');
  }
  REQUIRE(bitfall::current_rss_bytes() <= before + size / 10);
  REQUIRE(bitfall::peak_rss_bytes() >= before + size * 9 / 10);
}
