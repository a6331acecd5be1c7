#include <cstdint>
#include <string>
#include <vector>

#include "bitfall/errors.hpp"
#include "catch.hpp"
#include "io/archive/table.hpp"

using namespace bitfall;
using Type = Column::Type;

TEST_CASE("cells hold what was put into them") {
  Table table("t",
              {{"name", Type::text, 5}, {"n", Type::integer}, {"x", Type::real}, {"shape", Type::integer, 3}},
              2);
  CHECK(table.row_bytes() == 5 + 8 + 8 + 24);
  CHECK(table.rows() == 2);
  table.set(1, "name", std::string_view("abcde"));
  table.set(1, "n", std::int64_t{-5});
  table.set_real(1, "x", 0.1);
  table.set(1, "shape", std::vector<std::int64_t>{3, 4});
  CHECK(table.text(1, "name") == "abcde");
  CHECK(table.integer(1, "n") == -5);
  CHECK(table.real(1, "x") == 0.1);
  CHECK(table.list(1, "shape", 2) == std::vector<std::int64_t>{3, 4});
  CHECK(table.text(0, "name").empty());
  CHECK(table.integer(0, "n") == 0);
}

TEST_CASE("a wrong use of a table is an error that names it") {
  Table table("t", {{"name", Type::text, 5}, {"shape", Type::integer, 3}}, 1);
  table.set(0, "shape", std::vector<std::int64_t>{3, 4, 5});
  CHECK_THROWS_AS(table.text(0, "none"), DataError);
  CHECK_THROWS_AS(table.text(0, "shape"), DataError);
  CHECK_THROWS_AS(table.text(1, "name"), DataError);
  CHECK_THROWS_AS(table.text(-1, "name"), DataError);
  CHECK_THROWS_AS(table.list(0, "shape", 2), DataError);  // the third size is not zero
  CHECK_THROWS_AS(table.list(0, "shape", 4), DataError);
  CHECK_THROWS_AS(table.list(0, "shape", -1), DataError);
  CHECK_THROWS_AS(table.set(0, "name", std::string_view("longer")), InternalError);
  const Table hole("t", {{"name", Type::text, 4}}, {'a', 0, 'b', 0});
  CHECK_THROWS_AS(hole.text(0, "name"), DataError);
}
