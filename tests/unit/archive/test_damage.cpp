// A damaged file ends in DataError that names it: every bit of the file, every length, and damage that was
// sealed again, so that it reaches the HDF5 library and our own checks.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>

#include "bitfall/archive.hpp"
#include "bitfall/errors.hpp"
#include "catch.hpp"
#include "io/archive/layout.hpp"
#include "io/archive/seal.hpp"
#include "io/files/file.hpp"
#include "sample_archive.hpp"

using namespace bitfall;

namespace {

/// A small archive, so that each of its bits can be tried.
Archive small_archive() {
  Archive archive;
  archive.layers.push_back(random_layer("conv", {8, 2, 3, 3}, 9, 5, 1));
  archive.layers.push_back(random_layer("fc", {40, 16}, 4, 16, 2, 20));
  for (std::uint16_t& code : archive.layers.back().codes) code = code < 14 ? 3 : code;
  REQUIRE(encode_codes(archive.layers.back().codes, 16).coding == Coding::rans);
  make_int8(archive.layers.back());
  archive.kept.push_back(random_tensor("bn.weight", {64}, 3));
  archive.plan_json = "{}";
  archive.model = "TorchScript" + std::string(300, 'x');
  archive.provenance_json = R"({"version":"0.1.0"})";
  return archive;
}

std::string written(Archive& archive) {
  const TemporaryFolder folder;
  write_archive(archive, folder / "a.h5");
  return read_file(folder / "a.h5");
}

/// The archive, or nothing when it is refused; an error must name the file.
std::optional<Archive> parse(std::string_view bytes) {
  try {
    return parse_archive(bytes, "folder/a.h5");
  } catch (const DataError& error) {
    if (!std::string_view(error.what()).starts_with("folder/a.h5")) FAIL(error.what());
    return std::nullopt;
  }
}

std::string sealed_again(std::string_view bytes) {
  const std::string image(bytes.substr(0, bytes.size() - static_cast<std::size_t>(seal_bytes)));
  return image + make_seal(image);
}

std::int64_t peak_memory_bytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return std::int64_t{1024} * usage.ru_maxrss;
}

/// Flips one bit, then all bits, of each byte of the image and seals it again. Returns 0 when each was
/// refused or left the content as it was, most were refused, and no attempt took more memory than readers
/// may.
int try_sealed_damage(const std::string& bytes, const std::string& content_sha256) {
  const std::size_t image_bytes = bytes.size() - static_cast<std::size_t>(seal_bytes);
  const std::int64_t before = peak_memory_bytes();
  std::size_t refused = 0;
  for (std::size_t i = 0; i < image_bytes; ++i) {
    for (const int mask : {1 << (i % 8), 0xff}) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ mask);
      try {
        if (content_hash(parse_archive(sealed_again(damaged), "folder/a.h5")) != content_sha256) return 1;
      } catch (const DataError& error) {
        if (!std::string_view(error.what()).starts_with("folder/a.h5")) return 2;
        ++refused;
      } catch (...) {
        return 3;
      }
    }
  }
  if (refused < image_bytes) return 4;
#ifdef __SANITIZE_ADDRESS__
  return 0;  // freed memory is kept in quarantine there
#endif
  const std::int64_t most = 2 * layout::most_declared_bytes(static_cast<std::int64_t>(bytes.size()));
  return peak_memory_bytes() - before < most ? 0 : 5;
}

}  // namespace

TEST_CASE("every flipped bit is refused") {
  Archive archive = small_archive();
  std::string bytes = written(archive);
  REQUIRE(parse(bytes).has_value());
  std::size_t accepted = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      bytes[i] = static_cast<char>(bytes[i] ^ (1 << bit));
      if (parse(bytes)) ++accepted;
      bytes[i] = static_cast<char>(bytes[i] ^ (1 << bit));
    }
  }
  CHECK(accepted == 0);
}

TEST_CASE("a file of any other length is refused") {
  Archive archive = small_archive();
  const std::string bytes = written(archive);
  std::size_t accepted = 0;
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    if (parse(std::string_view(bytes).substr(0, length))) ++accepted;
  }
  CHECK(accepted == 0);
  CHECK_FALSE(parse(bytes + '\0'));
  CHECK_FALSE(parse(bytes + "x"));
  CHECK_FALSE(parse(bytes + bytes));
  CHECK_FALSE(parse('\0' + bytes));
  CHECK_FALSE(parse(bytes + make_seal("")));
}

TEST_CASE("swapped, zeroed and moved parts are refused") {
  Archive archive = small_archive();
  const std::string bytes = written(archive);
  std::mt19937_64 random(1);
  for (int i = 0; i < 2000; ++i) {
    std::string damaged = bytes;
    const std::size_t one = random() % bytes.size();
    const std::size_t other = random() % bytes.size();
    std::swap(damaged[one], damaged[other]);
    const std::size_t length = random() % 64;
    if (i % 3 == 1) damaged.replace(one, length, std::string(std::min(length, bytes.size() - one), '\0'));
    if (i % 3 == 2) damaged.erase(one, length).append(length, '\0');
    if (damaged == bytes) continue;
    INFO(i << " " << one << " " << other << " " << length);
    REQUIRE_FALSE(parse(damaged));
  }
}

// Whoever damages a file and seals it again can't change the content without a new content hash. In a process
// of its own: the HDF5 library forgets to close things when it meets such files and complains at the end.
TEST_CASE("damage under a good seal is refused or changes nothing that the content hash covers") {
  Archive archive = small_archive();
  const std::string bytes = written(archive);
  const pid_t child = ::fork();
  if (child == 0) ::_exit(try_sealed_damage(bytes, archive.content_sha256));
  REQUIRE(child > 0);
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  INFO("status " << status);
  REQUIRE(WIFEXITED(status));  // else a signal: a crash
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("a damaged file on the disk is named, and so is one that is no archive") {
  const TemporaryFolder folder;
  Archive archive = small_archive();
  std::string bytes = written(archive);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 4);
  for (const std::string& content : {bytes, std::string(), std::string("x"), std::string(100, 'x'),
                                     bytes.substr(0, bytes.size() - 1), bytes.substr(0, 8)}) {
    write_bytes(folder / "bad.h5", content);
    for (const bool whole : {true, false}) {
      try {
        if (whole)
          (void)read_archive(folder / "bad.h5");
        else
          (void)archive_bytes(folder / "bad.h5");
        FAIL("accepted " << content.size() << " bytes");
      } catch (const DataError& error) {
        CHECK(std::string(error.what()).find((folder / "bad.h5").string()) != std::string::npos);
      }
    }
  }
  CHECK_THROWS_AS(read_archive(folder / "none.h5"), MissingInputError);
  CHECK_THROWS_AS(read_archive(folder.path()), MissingInputError);
}
