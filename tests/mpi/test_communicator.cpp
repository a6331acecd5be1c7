// The collectives on real ranks. Every rank runs every test case, so requirements on one rank only must not
// skip a collective: they follow it.
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "bitfall/communicator.hpp"
#include "bitfall/errors.hpp"
#include "bitfall/exact_sum.hpp"
#include "catch.hpp"

using bitfall::Communicator;

TEST_CASE("sums and maxima") {
  const Communicator world = Communicator::world();
  const std::int64_t ranks = world.size();
  std::vector<std::int64_t> values{1, world.rank(), -5 * world.rank(), std::int64_t{1} << 40};
  world.sum(values);
  const std::int64_t triangle = ranks * (ranks - 1) / 2;
  REQUIRE(values == std::vector<std::int64_t>{ranks, triangle, -5 * triangle, ranks << 40});
  REQUIRE(world.max(static_cast<double>(world.rank()) - 10.5) == static_cast<double>(ranks - 1) - 10.5);
  REQUIRE(world.max(std::int64_t{-world.rank()}) == 0);
  const double one_nan = world.rank() == ranks - 1 ? std::numeric_limits<double>::quiet_NaN() : 1.0;
  REQUIRE(std::isnan(world.max(one_nan)));
  REQUIRE(std::isinf(world.max(world.rank() == 0 ? std::numeric_limits<double>::infinity() : 1.0)));
}

TEST_CASE("large sums go the way that was chosen, on every copy of the group") {
  struct Counted final : bitfall::LargeSum {
    explicit Counted(const Communicator& group) : ranks(group.size()) {}
    void sum(std::span<std::int64_t> values) const override {
      ++calls;
      for (std::int64_t& value : values) value *= ranks;  // every rank has the same
    }
    std::int64_t ranks;
    mutable int calls = 0;
  };
  const Communicator world = Communicator::world(), copy = world;
  const auto way = std::make_shared<const Counted>(world);
  world.use_for_large_sums(way);
  std::vector<std::int64_t> large(Communicator::large_sum_values, 3),
      small(Communicator::large_sum_values - 1, 3);
  copy.sum(large);
  copy.sum(small);
  REQUIRE(way->calls == 1);
  REQUIRE(large == std::vector<std::int64_t>(large.size(), 3 * world.size()));
  REQUIRE(small == std::vector<std::int64_t>(small.size(), 3 * world.size()));
  world.use_for_large_sums(nullptr);
  copy.sum(large);
  REQUIRE(way->calls == 1);
  REQUIRE(large.front() == 3 * world.size() * world.size());
}

TEST_CASE("empty spans and texts are allowed everywhere") {
  const Communicator world = Communicator::world();
  world.sum({});
  world.broadcast(std::span<float>{}, world.size() - 1);
  std::string text = world.is_root() ? "" : "not empty before";
  world.broadcast(text);
  REQUIRE(text.empty());
  for (const std::string& part : world.all_gather(std::string())) REQUIRE(part.empty());
  REQUIRE(world.all_gather(std::span<const double>{}).empty());
  world.barrier();
}

TEST_CASE("broadcast from every root, with zero bytes inside the text") {
  const Communicator world = Communicator::world();
  for (int root = 0; root < world.size(); ++root) {
    const std::string expected = std::string("a\0b", 3) + std::to_string(root);
    std::string text = world.rank() == root ? expected : "x";
    world.broadcast(text, root);
    REQUIRE(text == expected);
    std::array<double, 2> numbers{};
    if (world.rank() == root) numbers = {1.5, -2.5 * root};
    world.broadcast(std::span<double>(numbers), root);
    REQUIRE(numbers == std::array<double, 2>{1.5, -2.5 * root});
  }
}

TEST_CASE("all_gather keeps the order of ranks and unequal lengths") {
  const Communicator world = Communicator::world();
  const auto parts = world.all_gather(std::string(static_cast<std::size_t>(world.rank() % 2 * 3), 'x'));
  REQUIRE(parts.size() == static_cast<std::size_t>(world.size()));
  for (std::size_t rank = 0; rank < parts.size(); ++rank) REQUIRE(parts[rank].size() == rank % 2 * 3);
  const std::vector<std::int32_t> mine(static_cast<std::size_t>(world.rank()), world.rank());
  const auto all = world.all_gather(std::span<const std::int32_t>(mine));
  std::vector<std::int32_t> expected;
  for (int rank = 0; rank < world.size(); ++rank) expected.insert(expected.end(), std::size_t(rank), rank);
  REQUIRE(all == expected);
}

TEST_CASE("buffers longer than one MPI call may carry go in pieces") {
  const Communicator world = Communicator::world();
  constexpr std::size_t bytes = (std::size_t{1} << 24) + 12'345;  // more than one piece
  std::string text;
  if (world.is_root()) {
    text.resize(bytes);
    for (std::size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>(i * 2'654'435'761U >> 13);
  }
  world.broadcast(text);
  REQUIRE(text.size() == bytes);
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < bytes; ++i) wrong += text[i] != static_cast<char>(i * 2'654'435'761U >> 13);
  REQUIRE(wrong == 0);
  // Only the last rank has something long to say.
  text.resize(world.rank() == world.size() - 1 ? bytes : 3);
  const auto parts = world.all_gather(text);
  for (std::size_t rank = 0; rank < parts.size(); ++rank) {
    const std::size_t expected = rank + 1 == parts.size() ? bytes : 3;
    REQUIRE(parts[rank].size() == expected);
    REQUIRE(parts[rank][expected - 1] == static_cast<char>((expected - 1) * 2'654'435'761U >> 13));
  }
}

TEST_CASE("integer sums longer than one MPI call") {
  const Communicator world = Communicator::world();
  if (world.size() > 2) return;  // 0.1 GB a rank
  std::vector<std::int64_t> values((std::size_t{1} << 24) + 5);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<std::int64_t>(i) * (world.rank() + 1);
  world.sum(values);
  const std::int64_t factor = world.size() * (world.size() + 1) / 2;
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < values.size(); ++i) wrong += values[i] != static_cast<std::int64_t>(i) * factor;
  REQUIRE(wrong == 0);
}

TEST_CASE("guarded: all is well") {
  const Communicator world = Communicator::world();
  int ran = 0;
  world.guarded("work", [&] { ++ran; });
  REQUIRE(ran == 1);
}

TEST_CASE("guarded: one failing rank is heard by all, whichever it is") {
  const Communicator world = Communicator::world();
  for (int failing = 0; failing < world.size(); ++failing) {
    std::string message;
    int code = 0;
    try {
      world.guarded("work", [&] {
        if (world.rank() == failing) throw bitfall::DataError("bad JPEG on rank " + std::to_string(failing));
      });
    } catch (const bitfall::DataError& error) {
      message = error.what();
      code = static_cast<int>(error.code());
    }
    REQUIRE(message == "bad JPEG on rank " + std::to_string(failing));
    REQUIRE(code == 65);
    world.barrier();  // and the group is still usable
  }
}

TEST_CASE("guarded: of several failing ranks the lowest speaks") {
  const Communicator world = Communicator::world();
  const int first = world.size() > 1 ? 1 : 0;
  std::string message;
  bitfall::ExitCode code = bitfall::ExitCode::ok;
  try {
    world.guarded("work", [&] {
      if (world.rank() == first) throw bitfall::IoError("disk full");
      if (world.rank() > first) throw std::runtime_error("something else");
    });
  } catch (const bitfall::Error& error) {
    message = error.what();
    code = error.code();
  }
  REQUIRE(message == "disk full");
  REQUIRE(code == bitfall::ExitCode::cannot_write);
}

TEST_CASE("guarded: errors that are not ours carry the name of the work") {
  const Communicator world = Communicator::world();
  std::string message;
  try {
    world.guarded("gram of conv1", [&] {
      if (world.rank() == world.size() - 1) throw std::out_of_range("at");
    });
  } catch (const bitfall::InternalError& error) {
    message = error.what();
  }
  REQUIRE(message == "gram of conv1: at");
  message.clear();
  try {
    world.guarded("gram of conv1", [&] {
      if (world.rank() == world.size() - 1) throw std::bad_alloc();
    });
  } catch (const bitfall::ClusterError& error) {
    message = error.what();
  }
  REQUIRE(message.find("gram of conv1: rank " + std::to_string(world.size() - 1) + " ran out") == 0);
}

TEST_CASE("MPI's own failures are ClusterError and not the end of the process") {
  const Communicator world = Communicator::world();
  if (world.size() != 2) return;  // more ranks would wait for the one that fails
  // Sizes that disagree: the receiver has less room than the root sends.
  std::array<std::byte, 16> bytes{};
  std::string message;
  try {
    world.broadcast_bytes(std::span(bytes).first(world.is_root() ? 16 : 8), 0);
  } catch (const bitfall::ClusterError& error) {
    message = error.what();
  }
  if (world.is_root()) {
    CHECK(message.empty());
  } else {
    CHECK(message.find("MPI_Bcast failed on rank 1 (") == 0);
  }
  world.barrier();
}

TEST_CASE("exact sums have the same bits on any number of ranks") {
  const Communicator world = Communicator::world();
  std::vector<double> values(10'007);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<double>(i)) * 1e-3;
  const auto count = static_cast<std::int64_t>(values.size());
  const auto scale = bitfall::FixedPoint::for_sum(1e-3, count);
  std::int64_t everything = 0;
  for (const double value : values) everything += scale.to_integer(value);
  const auto share = world.share(count);
  std::vector<std::int64_t> sum{0};
  for (std::int64_t i = share.first; i < share.last; ++i) {
    sum[0] += scale.to_integer(values[static_cast<std::size_t>(i)]);
  }
  world.sum(sum);
  REQUIRE(sum[0] == everything);
}
