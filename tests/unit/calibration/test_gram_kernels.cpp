#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "calibration/gram_kernels.hpp"
#include "catch.hpp"

using namespace bitfall;

namespace {

/// The documented arithmetic in plain C++: 16 float lanes with fused multiply-add, moved to double lanes
/// after every 32 products, lanes added in order at the end.
double plain_sum(const std::vector<float>& a, const std::vector<float>& b) {
  float lanes[16] = {};
  double wide[16] = {};
  int vectors = 0;
  for (std::size_t first = 0; first < a.size(); first += 16) {
    for (std::size_t lane = 0; lane < 16; ++lane) {
      const bool inside = first + lane < a.size();
      lanes[lane] = std::fma(inside ? a[first + lane] : 0.0F, inside ? b[first + lane] : 0.0F, lanes[lane]);
    }
    if (++vectors % 32 == 0) {
      for (std::size_t lane = 0; lane < 16; ++lane) {
        wide[lane] += static_cast<double>(lanes[lane]);
        lanes[lane] = 0;
      }
    }
  }
  double sum = 0;
  for (std::size_t lane = 0; lane < 16; ++lane) sum += wide[lane] + static_cast<double>(lanes[lane]);
  return sum;
}

std::vector<std::vector<float>> random_rows(std::int64_t d, std::int64_t length) {
  std::mt19937 random(static_cast<unsigned>(d * 1000 + length));
  std::normal_distribution<float> normal;
  std::vector<std::vector<float>> rows(static_cast<std::size_t>(d));
  for (auto& row : rows) {
    row.resize(static_cast<std::size_t>(length));
    for (float& value : row) value = normal(random);
  }
  return rows;
}

}  // namespace

TEST_CASE("sums of products have the bits of the plain loop") {
  for (const std::int64_t d : {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 16, 18}) {
    for (const std::int64_t length : {1, 15, 16, 17, 100, 511, 512, 513, 1500}) {
      const auto rows = random_rows(d, length);
      std::vector<const float*> pointers;
      for (const auto& row : rows) pointers.push_back(row.data());
      ProductSums products(d);
      products.add(pointers, length);
      std::vector<double> sums(static_cast<std::size_t>(pair_count(d)));
      products.finish(sums);
      std::size_t pair = 0;
      for (std::size_t a = 0; a < rows.size(); ++a) {
        for (std::size_t b = a; b < rows.size(); ++b) {
          INFO("d " << d << " length " << length << " pair " << a << ", " << b);
          // A processor without fused multiply-add rounds twice: close, not equal.
#if defined(__FMA__) || defined(__aarch64__)
          REQUIRE(sums[pair++] == plain_sum(rows[a], rows[b]));
#else
          REQUIRE(std::abs(sums[pair++] - plain_sum(rows[a], rows[b])) <=
                  (__builtin_cpu_supports("fma") ? 0.0 : 1e-4));
#endif
        }
      }
    }
  }
}

TEST_CASE("a mask leaves positions out, whatever lies there") {
  const std::int64_t d = 9;
  for (const std::int64_t length : {7, 16, 100, 700}) {
    const auto rows = random_rows(d, length);
    std::vector<float> mask(static_cast<std::size_t>(length));
    auto masked = rows;
    for (std::size_t p = 0; p < mask.size(); ++p) {
      if (p % 5 < 3) {
        mask[p] = keep_mask();
      } else {
        for (auto& row : masked) row[p] = 0;
      }
    }
    std::vector<const float*> pointers;
    std::vector<const float*> masked_pointers;
    for (const auto& row : rows) pointers.push_back(row.data());
    for (const auto& row : masked) masked_pointers.push_back(row.data());
    std::vector<double> sums(static_cast<std::size_t>(pair_count(d)));
    std::vector<double> expected(sums.size());
    ProductSums products(d);
    products.add(pointers, length, mask.data());
    products.finish(sums);
    products.add(masked_pointers, length);
    products.finish(expected);
    REQUIRE(sums == expected);
  }
}

TEST_CASE("finish starts again from zero and adds to what is there") {
  const auto rows = random_rows(4, 50);
  std::vector<const float*> pointers;
  for (const auto& row : rows) pointers.push_back(row.data());
  ProductSums products(4);
  std::vector<double> first(10);
  products.add(pointers, 50);
  products.finish(first);
  std::vector<double> second = first;
  products.add(pointers, 50);
  products.finish(second);
  for (std::size_t i = 0; i < first.size(); ++i) REQUIRE(second[i] == first[i] + first[i]);
}
