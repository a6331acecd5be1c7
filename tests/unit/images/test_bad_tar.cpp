// Tars that are damaged, hostile or no shards: each is a DataError that names the file.
#include <sys/stat.h>

#include <chrono>
#include <future>

#include "bitfall/errors.hpp"
#include "bitfall/random.hpp"
#include "catch.hpp"
#include "tar_builder.hpp"
#include "temporary_folder.hpp"

namespace bitfall::test {

namespace {

/// The message of the DataError of opening and reading all; empty when there is none.
std::string open_error(const std::string& tar) {
  const TemporaryFolder folder;
  write_file(folder / "bad.tar", tar);
  try {
    const ShardSet set = ShardSet::open((folder / "bad.tar").string());
    for (std::size_t i = 0; i < set.samples().size(); ++i)
      static_cast<void>(set.read(static_cast<std::int64_t>(i)));
  } catch (const DataError& error) {
    const std::string message = error.what();
    CHECK(message.find("bad.tar") != std::string::npos);
    return message;
  }
  return "";
}

bool mentions(const std::string& message, const std::string& words) {
  INFO(message);
  CHECK(message.find(words) != std::string::npos);
  return message.find(words) != std::string::npos;
}

const std::string& good_sample() {
  static const std::string sample = tar_sample("good", 1);
  return sample;
}

}  // namespace

TEST_CASE("a tar that is cut at any block, or between blocks, is refused") {
  const std::string whole = tar_sample("a", 1) + tar_sample("b", 2) + tar_end();
  REQUIRE(open_error(whole).empty());
  for (std::size_t size = 0; size + 512 < whole.size(); size += 256) {
    INFO("the first " << size << " of " << whole.size());
    CHECK_FALSE(open_error(whole.substr(0, size)).empty());
  }
}

TEST_CASE("files that are no tar") {
  CHECK_FALSE(open_error("").empty());
  CHECK_FALSE(open_error("hello").empty());
  CHECK_FALSE(open_error(std::string(1024, 'x')).empty());
  CHECK_FALSE(open_error(std::string(2048, 'x') + tar_end()).empty());
  mentions(open_error(tar_end()), "no KEY.jpg");
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "d.tar");
  CHECK_THROWS_AS(ShardSet::open((folder / "d.tar").string()), Error);
}

TEST_CASE("a pipe is refused and not waited for") {
  const TemporaryFolder folder;
  REQUIRE(mkfifo((folder / "p.tar").c_str(), 0600) == 0);
  auto refused = std::async(std::launch::async, [&] {
    try {
      static_cast<void>(ShardSet::open((folder / "p.tar").string()));
    } catch (const DataError&) {
      return true;
    }
    return false;
  });
  const bool in_time = refused.wait_for(std::chrono::seconds(10)) == std::future_status::ready;
  CHECK(in_time);
  if (!in_time) std::ofstream(folder / "p.tar").put('x');  // wakes the reader
  CHECK(refused.get());
}

TEST_CASE("a wrong checksum is damage") {
  std::string tar = good_sample() + tar_sample("b", 2) + tar_end();
  tar[good_sample().size()] = 'c';  // the name changed, the checksum did not
  mentions(open_error(tar), "damaged");
}

TEST_CASE("keys that are not one image with one class") {
  const std::string image = sample_jpeg(16, 12, 1);
  mentions(open_error(tar_entry("k.jpg", image) + tar_end()), "'k' has no .cls");
  mentions(open_error(tar_entry("k.cls", "1") + tar_end()), "'k' has no .jpg");
  mentions(open_error(tar_entry("k.png", image) + tar_entry("k.cls", "1") + tar_end()), "'k' has no .jpg");
  mentions(open_error(good_sample() + good_sample() + tar_end()), "'good' occurs twice");
  mentions(open_error(tar_entry("k.jpeg", image) + tar_sample("k", 1) + tar_end()), "'k' occurs twice");
  mentions(open_error(tar_sample("k", 1) + tar_entry("k.cls", "1") + tar_end()), "'k' occurs twice");
}

TEST_CASE("a class that is no number from 0 on") {
  for (const std::string text : {"", "\n", "cat", "-1", "+1", "1 2", "1.0", "0x1", "2147483648",
                                 "99999999999999999999", "1                                             "}) {
    const std::string message =
        open_error(tar_entry("k.jpg", sample_jpeg(16, 12, 1)) + tar_entry("k.cls", text) + tar_end());
    INFO("class '" << text << "'");
    mentions(message, "k.cls is not a class number");
  }
}

TEST_CASE("links, devices and paths that lead out of the shard") {
  for (const char type : {'1', '2', '3', '4', '6'}) {
    std::string header = tar_header("k.jpg", 0, type);
    header.replace(157, 8, "good.jpg");
    set_checksum(header);
    mentions(open_error(good_sample() + header + tar_end()), "'k.jpg'");
  }
  for (const std::string name : {"/k", "../k", "a/../k", "a/../../k"})
    mentions(open_error(tar_sample(name, 1) + tar_end()), "'" + name + ".jpg'");
}

TEST_CASE("what follows the end marker is not dropped in silence") {
  mentions(open_error(good_sample() + tar_end() + tar_sample("b", 2) + tar_end()), "after the end marker");
  CHECK(open_error(good_sample() + tar_end() + std::string(100 * 512, '\0')).empty());
}

TEST_CASE("sizes that lie") {
  const std::string image = sample_jpeg(16, 12, 1);
  const auto with_size_field = [&](const std::string& field) {
    std::string header = tar_header("k.jpg", image.size(), '0');
    header.replace(124, 12, field);
    set_checksum(header);
    return header + padded(image) + tar_entry("k.cls", "1") + tar_end();
  };
  REQUIRE(open_error(with_size_field(octal(image.size(), 12))).empty());
  CHECK_FALSE(open_error(with_size_field("77777777777\0")).empty());
  CHECK_FALSE(open_error(with_size_field("\x80\0\0\0\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF")).empty());
  CHECK_FALSE(
      open_error(with_size_field(std::string("\x80\0\0\0\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 12))).empty());
  CHECK_FALSE(open_error(with_size_field(std::string(12, '\xFF'))).empty());
  CHECK_FALSE(open_error(with_size_field("-0000000001\0")).empty());
  // An extended header that overrides the size, and one whose own size is negative or endless.
  const auto pax = [&](const std::string& size) {
    return tar_entry("PaxHeaders/x", pax_record("size", size), 'x') + tar_entry("k.jpg", image) +
           tar_entry("k.cls", "1") + tar_end();
  };
  CHECK_FALSE(open_error(pax("9223372036854775807")).empty());
  CHECK_FALSE(open_error(pax("9223372036854775000")).empty());
  for (const std::string& field : {std::string("-0000001000\0", 12), std::string(12, '7')}) {
    std::string header = tar_header("PaxHeaders/x", 512, 'x');
    header.replace(124, 12, field);
    set_checksum(header);
    CHECK_FALSE(open_error(header + padded(pax_record("mtime", "1")) + good_sample() + tar_end()).empty());
  }
}

TEST_CASE("a sparse file, whose bytes are not one after the other, is refused") {
  const std::string image = sample_jpeg(16, 12, 1);
  const std::string map = pax_record("GNU.sparse.major", "1") + pax_record("GNU.sparse.minor", "0") +
                          pax_record("GNU.sparse.name", "k.jpg") +
                          pax_record("GNU.sparse.realsize", std::to_string(image.size() + 512));
  const std::string data = padded("1\n512\n" + std::to_string(image.size()) + "\n") + image;
  mentions(open_error(tar_entry("PaxHeaders/x", map, 'x') + tar_entry("GNUSparseFile.0/k.jpg", data) +
                      tar_entry("k.cls", "1") + tar_end()),
           "k.jpg");
}

TEST_CASE("flipped bits never crash or hang") {
  const std::string whole = tar_entry("PaxHeaders/x", pax_record("path", "kk.jpg"), 'x') +
                            tar_entry("k.jpg", sample_jpeg(16, 12, 1)) + tar_entry("kk.cls", "1") +
                            tar_sample("b", 2) + tar_end();
  REQUIRE(open_error(whole).empty());
  int errors = 0;
  for (std::uint64_t trial = 0; trial < 2000; ++trial) {
    std::string damaged = whole;
    const auto bit = random_below(trial, 2, 0, whole.size() * 8);
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    // Half of the time the header is consistent again, so that its fields are believed.
    if (trial % 2 == 1 && bit / 8 < 512) {
      std::string header = damaged.substr(0, 512);
      set_checksum(header);
      damaged.replace(0, 512, header);
    }
    if (!open_error(damaged).empty()) ++errors;
  }
  CHECK(errors > 200);
}

TEST_CASE("a shard that shrinks or changes while it is open is an error that names shard and key") {
  const TemporaryFolder folder;
  write_file(folder / "s.tar", tar_sample("a", 1) + tar_sample("b", 2) + tar_end());
  const ShardSet set = ShardSet::open((folder / "s.tar").string());
  const auto message = [&](std::int64_t index) -> std::string {
    try {
      static_cast<void>(set.read(index));
    } catch (const DataError& error) {
      return error.what();
    }
    return "";
  };
  write_file(folder / "s.tar", tar_sample("a", 1) + tar_sample("c", 2) + tar_end());
  CHECK(message(0).empty());
  mentions(message(1), "s.tar: b.jpg");
  std::filesystem::resize_file(folder / "s.tar", 512);
  mentions(message(0), "s.tar: a.jpg");
}

}  // namespace bitfall::test
