// Products with a whole Gram matrix: the bits of plain chains of std::fma, on every instruction set.
#include "quantization/gram_product.hpp"

#include <cmath>
#include <limits>
#include <random>

#include "bitfall/errors.hpp"
#include "catch.hpp"
#include "full_oracle.hpp"
#include "hwy/highway.h"
#include "quantization/estep.hpp"

using namespace bitfall;

namespace {

void compare_products(const PackedGram& gram, std::mt19937& random) {
  const auto columns = std::size_t(gram.columns()), stride = std::size_t(gram.padded_columns());
  constexpr auto rows = std::size_t(3 * PackedGram::tile_rows);
  std::normal_distribution<float> normal;
  AlignedVector<float> in(rows * stride, 0.0f), out(rows * stride, 7.0f), expected(rows * stride, 0.0f);
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t p = 0; p < columns; ++p) in[r * stride + p] = normal(random);
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t q = 0; q < columns; ++q)
      for (std::size_t p = 0; p < columns; ++p)
        expected[r * stride + q] =
            std::fma(in[r * stride + p], gram.at(std::int64_t(p), std::int64_t(q)), expected[r * stride + q]);
  gram.multiply(in.data(), rows, out.data());
  REQUIRE(out == expected);

  const std::size_t count = std::min<std::size_t>(columns, 3), first = columns - count;
  const std::vector<float> delta{0.5f, -1.25f, 3.0f};
  for (std::size_t i = 0; i < count; ++i)
    for (std::size_t q = 0; q < columns; ++q)
      for (const std::size_t r : {std::size_t{1}, std::size_t{5}})
        expected[r * stride + q] =
            std::fma(delta[i], gram.at(std::int64_t(first + i), std::int64_t(q)), expected[r * stride + q]);
  const std::vector<PackedGram::RowUpdate> updates{{out.data() + stride, delta.data()},
                                                   {out.data() + 5 * stride, delta.data()}};
  gram.add_rows(updates, std::int64_t(first), std::int64_t(count));
  REQUIRE(out == expected);
}

}  // namespace

TEST_CASE("products with a Gram matrix have the bits of plain chains on every instruction set") {
  std::mt19937 random(1);
  for (const std::size_t columns : {1u, 4u, 31u, 32u, 33u, 100u, 300u}) {
    const auto h = oracle::second_moment(columns, 2 * columns, 1, 0, random);
    const PackedGram gram(oracle::lower_triangle(h), 0.01);
    REQUIRE(gram.columns() == std::int64_t(columns));
    REQUIRE(gram.padded_columns() % PackedGram::panel_columns == 0);
    for (const std::int64_t target : estep_targets()) {
      hwy::SetSupportedTargetsForTest(target);
      INFO("target " << hwy::TargetName(target) << ", columns " << columns);
      compare_products(gram, random);
    }
    hwy::SetSupportedTargetsForTest(0);
  }
}

TEST_CASE("a packed Gram matrix is H over its mean diagonal entry, damped") {
  const PackedGram gram(std::vector<double>{4.0, 1.0, 2.0}, 0.5);  // [[4, 1], [1, 2]]
  CHECK(gram.unit() == 3.0);
  CHECK(gram.at(0, 0) == float(4.0 / 3 + 0.5));
  CHECK(gram.at(1, 1) == float(2.0 / 3 + 0.5));
  CHECK(gram.at(0, 1) == float(1.0 / 3));
  CHECK(gram.at(1, 0) == float(1.0 / 3));
  CHECK(gram.largest_column_sum() == Approx(4.0 / 3 + 0.5 + 1.0 / 3));
  const PackedGram dead(std::vector<double>{0.0, 0.0, 0.0}, 0.25);
  CHECK(dead.at(0, 0) == 1.25f);
  CHECK(dead.at(0, 1) == 0.0f);
}

TEST_CASE("a Gram matrix with a NaN or an infinity is refused") {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  for (const double bad : {nan, inf, -inf}) {
    for (std::size_t i = 0; i < 3; ++i) {
      std::vector<double> lower{1.0, 0.0, 1.0};
      lower[i] = bad;
      CHECK_THROWS_AS(PackedGram(lower, 0.01), DataError);
    }
  }
}
