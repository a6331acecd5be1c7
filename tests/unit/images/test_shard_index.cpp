// The index file beside a shard: what it saves, and that it is never believed when it is wrong.
#include <filesystem>
#include <map>

#include "bitfall/errors.hpp"
#include "bitfall/random.hpp"
#include "catch.hpp"
#include "io/files/sha256.hpp"
#include "tar_builder.hpp"
#include "temporary_folder.hpp"

namespace bitfall::test {

namespace {

namespace fs = std::filesystem;

/// One class of 40 images, packed by the library: s-0000.tar with s-0000.idx.
class Packed {
 public:
  explicit Packed(std::uint64_t seed = 0) {
    PackParameters parameters;
    parameters.folder = folder_ / "images";
    parameters.prefix = (folder_ / "s").string();
    parameters.seed = seed;
    for (int i = 0; i < 40; ++i) {
      const std::string name = (i % 2 == 0 ? "cat/" : "dog/") + std::to_string(i) + ".jpg";
      write_file(parameters.folder / name, sample_jpeg(12, 10, static_cast<std::uint64_t>(i)));
    }
    write_shard(parameters, plan_pack(parameters), 0);
  }
  [[nodiscard]] fs::path tar() const { return folder_ / "s-0000.tar"; }
  [[nodiscard]] fs::path index() const { return folder_ / "s-0000.idx"; }
  /// Makes the index look `seconds` newer than the shard (negative: older).
  void set_index_age(int seconds) const {
    fs::last_write_time(index(), fs::last_write_time(tar()) + std::chrono::seconds(seconds));
  }
  [[nodiscard]] ShardSet open() const { return ShardSet::open(tar().string()); }
  /// The set as a scan finds it: the index is put aside for the time.
  [[nodiscard]] ShardSet scan() const {
    fs::rename(index(), folder_ / "aside");
    ShardSet set = open();
    fs::rename(folder_ / "aside", index());
    return set;
  }

 private:
  TemporaryFolder folder_;
};

bool same(const ShardSet& a, const ShardSet& b) {
  if (a.samples().size() != b.samples().size() || a.fingerprint() != b.fingerprint()) return false;
  for (std::size_t i = 0; i < a.samples().size(); ++i) {
    const Sample &x = a.samples()[i], &y = b.samples()[i];
    if (x.key != y.key || x.label != y.label || x.offset != y.offset || x.bytes != y.bytes) return false;
    if (a.read(static_cast<std::int64_t>(i)) != b.read(static_cast<std::int64_t>(i))) return false;
  }
  return true;
}

/// The index is refused with a warning that has `words`, and the set is what the scan finds.
void check_refused(const Packed& packed, const std::string& words) {
  const ShardSet set = packed.open();
  INFO("expected '" << words << "', warned '" << set.warning() << "'");
  CHECK(set.indexed() == 0);
  CHECK(set.warning().find("s-0000.idx is not used: ") != std::string::npos);
  CHECK(set.warning().find(words) != std::string::npos);
  CHECK(same(set, packed.scan()));
}

/// The index text with its digest made right again.
std::string sealed(const std::string& text) {
  const std::string body = text.substr(0, text.rfind("sha256 "));
  return body + "sha256 " + to_hex(sha256(std::string_view(body))) + "\n";
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const auto at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("an index gives the same set as a scan, and needs no whole tar") {
  const Packed packed;
  const ShardSet indexed = packed.open(), scanned = packed.scan();
  CHECK(indexed.indexed() == 1);
  CHECK(indexed.warning().empty());
  CHECK(scanned.indexed() == 0);
  CHECK(scanned.warning().empty());
  CHECK(same(indexed, scanned));
  // Damage between the spot checks stops a scan; an index does not even see it, and the samples beside it are
  // read.
  std::string tar = read_file(packed.tar());
  const Sample sample = scanned.samples()[1];
  tar[static_cast<std::size_t>(sample.offset) - 512] ^= 1;
  write_file(packed.tar(), tar);
  packed.set_index_age(1);
  const ShardSet damaged = packed.open();
  CHECK(damaged.indexed() == 1);
  CHECK(damaged.read(0) == indexed.read(0));
  std::string message;
  try {
    static_cast<void>(damaged.read(1));
  } catch (const DataError& error) {
    message = error.what();
  }
  INFO(message);
  CHECK(message.find("s-0000.tar: " + sample.key + ".jpg is not where the index has it") !=
        std::string::npos);
}

TEST_CASE("the index depends on nothing but the shard") {
  const Packed one, two, other(1);
  CHECK(read_file(one.index()) == read_file(two.index()));
  CHECK(read_file(one.index()) != read_file(other.index()));
}

TEST_CASE("an index of another shard is stale") {
  const Packed packed, other(1);
  REQUIRE(fs::file_size(packed.tar()) == fs::file_size(other.tar()));  // the same images in another order
  write_file(packed.tar(), read_file(other.tar()));
  for (const int age : {-1, 1}) {
    packed.set_index_age(age);
    check_refused(packed, "something else at the key");
  }
  write_file(packed.tar(), tar_sample("a", 1) + tar_end());
  check_refused(packed, "of another size");
}

TEST_CASE("one class that changed in place is noticed because the shard is newer than its index") {
  const Packed packed;
  const Sample sample = packed.scan().samples()[1];  // not among the spot checks
  std::string tar = read_file(packed.tar());
  const auto at = tar.find(sample.key + ".cls") + 512;
  tar[at] = tar[at] == '0' ? '1' : '0';
  write_file(packed.tar(), tar);
  packed.set_index_age(-1);
  check_refused(packed, "something else at the key '" + sample.key + "'");
}

TEST_CASE("a damaged index falls back to a scan with one warning") {
  const Packed packed;
  const std::string text = read_file(packed.index());
  for (std::size_t size = 0; size < text.size(); size += size < 40 ? 1 : 97) {
    write_file(packed.index(), text.substr(0, size));
    // Cut inside the magic it can't be told from another program's file.
    if (size > 0 && size < 14) {
      CHECK(packed.open().indexed() == 0);
      continue;
    }
    check_refused(packed, "");
  }
  for (std::uint64_t trial = 0; trial < 300; ++trial) {
    std::string damaged = text;
    const auto bit = random_below(trial, 3, 0, (text.size() - 14) * 8) + 14 * 8;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    write_file(packed.index(), damaged);
    check_refused(packed, "");
  }
  const std::string expected = packed.scan().fingerprint();
  const auto check_passed_over = [&](const std::string& damaged) {
    write_file(packed.index(), damaged);
    const ShardSet set = packed.open();
    CHECK(set.indexed() == 0);
    CHECK(set.fingerprint() == expected);
  };
  for (std::size_t i = 0; i < 200; ++i) check_passed_over(text.substr(0, i * text.size() / 200));
  for (std::uint64_t trial = 0; trial < 2000; ++trial) {
    std::string damaged = text;
    const auto bit = random_below(trial, 4, 0, text.size() * 8);
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    check_passed_over(damaged);
  }
  write_file(packed.index(), text + "more");
  check_refused(packed, "SHA-256");
  write_file(packed.index(), text + std::string(1'000'000, '\n'));
  check_refused(packed, "larger than its shard");
}

TEST_CASE("an index that lies with a right digest is refused") {
  const Packed packed;
  const std::string text = read_file(packed.index());
  const auto check = [&](const std::string& lie, const std::string& words) {
    write_file(packed.index(), sealed(lie));
    check_refused(packed, words);
  };
  write_file(packed.index(), sealed(text));
  REQUIRE(packed.open().indexed() == 1);
  const std::string size = std::to_string(fs::file_size(packed.tar()));
  check(replaced(text, "bitfall-index 1\n", "bitfall-index 2\n"), "another version");
  check(replaced(text, "shard " + size, "shard " + size + "0"), "another size");
  check(replaced(text, " 40\n", " 39\n"), "number of lines");
  check(replaced(text, " 40\n", " x\n"), "no number");
  const std::string first =
      text.substr(text.find("00000000\t"), text.find("00000001\t") - text.find("00000000\t"));
  const std::string label = first.substr(9, 1);
  check(replaced(text, first, ""), "number of lines");
  check(replaced(text, first, replaced(first, "\t512\t", "\t0\t")), "outside");
  check(replaced(text, first, replaced(first, "\t512\t", "\t-512\t")), "outside");
  check(replaced(text, first, replaced(first, "\t512\t", "\t513\t")), "outside");
  check(replaced(text, first, replaced(first, "\t512\t", "\t9223372036854775296\t")), "outside");
  check(replaced(text, first, replaced(first, "\t512\t", "\t99999999999999999999\t")), "no number");
  check(replaced(text, first, replaced(first, "\t512\t", "\t1024\t")), "something else");
  check(replaced(text, first, replaced(first, "00000000\t" + label, "00000000\t7")), "something else");
  // A size that no header confirms; the hash of the header still fits.
  const auto bytes = std::to_string(packed.scan().samples()[0].bytes);
  check(replaced(text, first, replaced(first, "\t" + bytes + "\t", "\t1\t")), "something else");
  check(replaced(text, first, replaced(first, "\t" + bytes + "\t", "\t9223372036854775807\t")), "outside");
  check(replaced(text, first, replaced(first, "00000000\t", "00000077\t")), "something else");
}

TEST_CASE("an index of another program is left alone, and an index is no shard") {
  const Packed packed;
  write_file(packed.index(), "v1.2 1\njpg 512 100 00000000.jpg cls 1536 1 00000000.cls\n");
  const ShardSet set = ShardSet::open((packed.tar().parent_path() / "s-*").string());
  CHECK(set.indexed() == 0);
  CHECK(set.warning().empty());
  CHECK(set.paths().size() == 1);
  fs::remove(packed.index());
  fs::create_directory(packed.index());
  check_refused(packed, "not a file");
}

}  // namespace bitfall::test
