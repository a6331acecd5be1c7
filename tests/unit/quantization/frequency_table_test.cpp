// frequency_table.cpp: frequencies that are nearly the best ones, and their bytes.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <numeric>
#include <random>
#include <span>
#include <vector>

#include "bitfall/errors.hpp"
#include "catch.hpp"
#include "quantization/frequency_table.hpp"

using namespace bitfall;

namespace {

using Counts = std::vector<std::int64_t>;

double cost(const Counts& counts, const std::vector<std::uint32_t>& frequencies) {
  double bits = 0;
  for (std::size_t i = 0; i < counts.size(); ++i)
    if (counts[i] > 0) bits -= double(counts[i]) * std::log2(double(frequencies[i]));
  return bits;
}

/// The least cost of all ways to share 2^bits.
double least_cost(const Counts& counts, int bits) {
  double least = 1e300;
  std::vector<std::uint32_t> frequencies(counts.size());
  const std::function<void(std::size_t, std::uint32_t)> share = [&](std::size_t i, std::uint32_t left) {
    if (i + 1 == counts.size()) {
      frequencies[i] = left;
      if ((counts[i] > 0) == (left > 0)) least = std::min(least, cost(counts, frequencies));
      return;
    }
    if (counts[i] == 0) return share(i + 1, left);
    for (std::uint32_t f = 1; f <= left; ++f) {
      frequencies[i] = f;
      share(i + 1, left - f);
    }
  };
  share(0, 1u << bits);
  return least;
}

}  // namespace

TEST_CASE("frequencies add up, serve every code that occurs, and are close to the best of all") {
  std::mt19937_64 random(1);
  for (int i = 0; i < 300; ++i) {
    Counts counts(2 + random() % 3);
    for (std::int64_t& count : counts) count = static_cast<std::int64_t>(random() % (i % 2 == 0 ? 5 : 1000));
    counts.back() = 1 + static_cast<std::int64_t>(random() % 100);
    const int bits = 2 + static_cast<int>(random() % 4);
    const FrequencyTable table = quantize_counts(counts, bits);
    CHECK(std::accumulate(table.frequencies.begin(), table.frequencies.end(), 0u) == 1u << bits);
    for (std::size_t c = 0; c < counts.size(); ++c) CHECK((counts[c] > 0) == (table.frequencies[c] > 0));
    const auto n = double(std::accumulate(counts.begin(), counts.end(), std::int64_t{0}));
    CHECK(cost(counts, table.frequencies) - least_cost(counts, bits) < 0.02 * n);
  }
}

TEST_CASE("counts that are powers of two are met exactly, and a share that vanishes is still 1") {
  CHECK(quantize_counts(Counts{4, 2, 1, 1}, 3).frequencies == std::vector<std::uint32_t>{4, 2, 1, 1});
  CHECK(quantize_counts(Counts{1000000, 1, 0, 1}, 4).frequencies == std::vector<std::uint32_t>{14, 1, 0, 1});
  CHECK(quantize_counts(Counts{0, 7}, 0).frequencies == std::vector<std::uint32_t>{0, 1});
  CHECK_THROWS_AS(quantize_counts(Counts{1, 1, 1}, 1), InternalError);
}

TEST_CASE("every table is read as it was written, in the bytes that were promised") {
  std::mt19937_64 random(2);
  for (int i = 0; i < 400; ++i) {
    const std::size_t k = i % 10 == 0 ? 1 + random() % 65536 : 1 + random() % 300;
    Counts counts(k);
    const std::uint64_t zeros = random() % 4;
    for (std::int64_t& count : counts)
      count = random() % 4 < zeros
                  ? 0
                  : static_cast<std::int64_t>(random() % (std::uint64_t{1} << random() % 30));
    counts[random() % k] = 1000;
    const int bits = k > 256 ? 16 : 9 + static_cast<int>(random() % 8);
    const FrequencyTable table = quantize_counts(counts, bits);
    const TableCoding best = choose_coding(table);
    for (const bool from_previous : {false, true})
      for (const int order : {0, 3, 15, best.order}) {
        std::vector<std::uint8_t> bytes = write_table(table, {from_previous, order, 0});
        if (from_previous == best.from_previous && order == best.order)
          CHECK(bytes.size() == 2 + static_cast<std::size_t>(best.bits + 7) / 8);
        CHECK(bytes.size() >= 2 + static_cast<std::size_t>(best.bits + 7) / 8);
        const std::size_t size = bytes.size();
        bytes.push_back(0xff);
        std::size_t length = 0;
        const FrequencyTable again = read_table(bytes, static_cast<std::int64_t>(k), length);
        REQUIRE(again.frequencies == table.frequencies);
        CHECK(again.bits == table.bits);
        CHECK(length == size);
        CHECK_THROWS_AS(read_table(std::span(bytes).first(size - 1), static_cast<std::int64_t>(k), length),
                        DataError);
      }
  }
}

TEST_CASE("frequencies that fall take a bit each where they stay equal") {
  std::vector<std::uint32_t> frequencies(256, 15);
  frequencies[0] = 256;  // 15 * 255 = 3825
  frequencies[1] += 15;
  const TableCoding coding = choose_coding({12, frequencies});
  CHECK(coding.from_previous);
  CHECK(coding.order == 0);
  CHECK(coding.bits < 256 + 60);
}

TEST_CASE("impossible tables are refused") {
  std::size_t length = 0;
  const auto refused = [&](const std::vector<std::uint8_t>& bytes, std::int64_t k) {
    CHECK_THROWS_AS(read_table(bytes, k, length), DataError);
  };
  refused({}, 1);
  refused({2}, 1);
  refused({17, 0, 0}, 1);                      // too fine
  refused({2, 0x20, 0}, 1);                    // unknown flag
  refused({2, 0, 0xff, 0xff, 0xff, 0xff}, 3);  // endless prefix
  refused({2, 0, 0x00}, 3);                    // 1 + 1 + 1 of 4
  refused({1, 0, 0x00}, 1 << 15);              // nothing at all
  refused({2, 0, 0xcb, 0}, 3);                 // a bit after the last frequency
  refused({0, 0, 0b001}, 1);                   // 1 + (-1)
  refused({2, 15, 0, 0, 0, 0xff, 0xff}, 3);    // wrong sum
}
