#include <cstdint>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "bitfall/communicator.hpp"
#include "bitfall/errors.hpp"
#include "catch.hpp"

using bitfall::Communicator;

TEST_CASE("a group of one needs no MPI") {
  const Communicator self = Communicator::self();
  REQUIRE(self.rank() == 0);
  REQUIRE(self.size() == 1);
  REQUIRE(self.is_root());
  self.barrier();
  std::vector<std::int64_t> values{1, -2};
  self.sum(values);
  REQUIRE(values == std::vector<std::int64_t>{1, -2});
  REQUIRE(self.max(2.5) == 2.5);
  REQUIRE(self.max(std::int64_t{-3}) == -3);
  std::string text = "unchanged";
  self.broadcast(text);
  REQUIRE(text == "unchanged");
  REQUIRE(self.all_gather(std::string("ab")) == std::vector<std::string>{"ab"});
  const std::vector<double> numbers{1.5, 2.5};
  REQUIRE(self.all_gather(std::span<const double>(numbers)) == numbers);
}

TEST_CASE("guarded work of one rank keeps our errors and explains the others") {
  const Communicator self = Communicator::self();
  bool ran = false;
  self.guarded("nothing", [&] { ran = true; });
  REQUIRE(ran);
  REQUIRE_THROWS_AS(self.guarded("x", [] { throw bitfall::IoError("full"); }), bitfall::IoError);
  try {
    self.guarded("reading shards", [] { throw std::out_of_range("vector::at"); });
    FAIL("no exception");
  } catch (const bitfall::InternalError& error) {
    REQUIRE(std::string(error.what()) == "reading shards: vector::at");
  }
  try {
    self.guarded("step 3", [] { throw std::bad_alloc(); });
    FAIL("no exception");
  } catch (const bitfall::Error& error) {
    REQUIRE(error.code() == bitfall::ExitCode::cluster);
    REQUIRE(std::string(error.what()).find("step 3: rank 0 ran out of memory") == 0);
  }
  try {
    self.guarded("x", [] { throw bitfall::Error(bitfall::ExitCode::preempted, "again"); });
    FAIL("no exception");
  } catch (const bitfall::Error& error) {
    REQUIRE(error.code() == bitfall::ExitCode::preempted);
  }
  REQUIRE_THROWS_AS(self.guarded("x", [] { throw 3; }), bitfall::InternalError);
}

TEST_CASE("shares: the example of the header") {
  const std::vector<std::pair<std::int64_t, std::int64_t>> expected{{0, 3}, {3, 6}, {6, 8}, {8, 10}};
  for (int rank = 0; rank < 4; ++rank) {
    const auto share = Communicator::share(10, rank, 4);
    REQUIRE(share.first == expected[static_cast<std::size_t>(rank)].first);
    REQUIRE(share.last == expected[static_cast<std::size_t>(rank)].second);
  }
}

TEST_CASE("shares cover all items once, in order, and differ by at most one") {
  for (int size = 1; size <= 9; ++size) {
    for (std::int64_t count = 0; count <= 40; ++count) {
      std::int64_t next = 0;
      for (int rank = 0; rank < size; ++rank) {
        const auto share = Communicator::share(count, rank, size);
        REQUIRE(share.first == next);
        REQUIRE(share.size() >= count / size);
        REQUIRE(share.size() <= count / size + 1);
        next = share.last;
      }
      REQUIRE(next == count);
    }
  }
}
