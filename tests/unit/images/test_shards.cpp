// What a shard may look like: names of every dialect, WebDataset's key rule, odd neighbours.
#include "bitfall/errors.hpp"
#include "catch.hpp"
#include "tar_builder.hpp"
#include "temporary_folder.hpp"

namespace bitfall::test {

namespace {

struct Found {
  std::string key;
  int label;
  bool operator==(const Found&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Found& found) {
  return out << found.key << '=' << found.label;
}

/// Keys and labels of a tar; each image is compared with the one that its label decides.
std::vector<Found> open_tar(const std::string& tar) {
  const TemporaryFolder folder;
  write_file(folder / "s.tar", tar);
  const ShardSet set = ShardSet::open((folder / "s.tar").string());
  std::vector<Found> found;
  for (std::size_t i = 0; i < set.samples().size(); ++i) {
    const Sample& sample = set.samples()[i];
    found.push_back({sample.key, sample.label});
    CHECK(set.read(static_cast<std::int64_t>(i)) ==
          as_bytes(sample_jpeg(16, 12, static_cast<std::uint64_t>(sample.label))));
  }
  return found;
}

std::string jpeg(int label) {
  return sample_jpeg(16, 12, static_cast<std::uint64_t>(label));
}

}  // namespace

TEST_CASE("samples come in the order of the tar, whatever the order of their two entries") {
  CHECK(open_tar(tar_sample("b", 1) + tar_sample("a", 22) + tar_end()) ==
        std::vector<Found>{{"b", 1}, {"a", 22}});
  CHECK(open_tar(tar_entry("x.cls", "7\n") + tar_entry("x.jpg", jpeg(7)) + tar_end()) ==
        std::vector<Found>{{"x", 7}});
}

TEST_CASE("the key is the path up to the first dot of the base name") {
  CHECK(open_tar(tar_sample("a.b/c", 3) + tar_end()) == std::vector<Found>{{"a.b/c", 3}});
  CHECK(open_tar(tar_sample("./c", 3) + tar_end()) == std::vector<Found>{{"./c", 3}});
  // Another extension is another member of the sample: masks, metadata.
  CHECK(open_tar(tar_entry("k.mask.jpg", "mask") + tar_entry("k.json", "{}") + tar_sample("k", 4) +
                 tar_end()) == std::vector<Found>{{"k", 4}});
  // The same base name in two folders is two samples.
  CHECK(open_tar(tar_sample("p/k", 1) + tar_sample("q/k", 2) + tar_end()) ==
        std::vector<Found>{{"p/k", 1}, {"q/k", 2}});
}

TEST_CASE("files without a key, such as the ones of macOS, are no samples") {
  CHECK(open_tar(tar_entry("._k.jpg", "AppleDouble") + tar_entry(".jpg", "x") + tar_entry("d/.cls", "5") +
                 tar_entry("README", "x") + tar_sample("k", 4) + tar_end()) == std::vector<Found>{{"k", 4}});
}

TEST_CASE("extensions are compared without case, as WebDataset does") {
  for (const std::string extension : {"jpg", "jpeg", "JPG", "JPEG", "Jpg"}) {
    CHECK(open_tar(tar_entry("k." + extension, jpeg(6)) + tar_entry("k.CLS", "6") + tar_end()) ==
          std::vector<Found>{{"k", 6}});
  }
}

TEST_CASE("long names in the pax and GNU dialects, and numbers as old tars write them") {
  const std::string name = std::string(90, 'd') + "/" + std::string(150, 'k');
  const auto pax = [](const std::string& long_name, const std::string& data) {
    return tar_entry("PaxHeaders/x", pax_record("mtime", "1.5") + pax_record("path", long_name), 'x') +
           tar_entry(long_name.substr(0, 100), data);
  };
  const auto gnu = [](const std::string& long_name, const std::string& data) {
    return tar_entry("././@LongLink", long_name + '\0', 'L') + tar_entry(long_name.substr(0, 100), data);
  };
  CHECK(open_tar(pax(name + ".jpg", jpeg(8)) + pax(name + ".cls", "8") + tar_end()) ==
        std::vector<Found>{{name, 8}});
  CHECK(open_tar(gnu(name + ".jpg", jpeg(8)) + gnu(name + ".cls", "8") + tar_end()) ==
        std::vector<Found>{{name, 8}});
  CHECK(open_tar(tar_entry("pax_global_header", pax_record("comment", "git"), 'g') + tar_sample("k", 1) +
                 tar_end()) == std::vector<Found>{{"k", 1}});

  // Spaces instead of zeros in front of a size, in the entry and in its extended header.
  const std::string record = pax_record("mtime", "1.5") + pax_record("comment", std::string(600, 'c'));
  std::string extended = tar_header("PaxHeaders/x", record.size(), 'x');
  char digits[13];
  std::snprintf(digits, sizeof digits, "%11llo ", static_cast<unsigned long long>(record.size()));
  extended.replace(124, 12, digits);
  set_checksum(extended);
  CHECK(open_tar(extended + padded(record) + tar_sample("k", 9) + tar_end()) == std::vector<Found>{{"k", 9}});
}

TEST_CASE("folders and old-style entries are accepted") {
  CHECK(open_tar(tar_entry("p/", "", '5') + tar_entry("p/k.jpg", jpeg(2), '\0') + tar_entry("p/k.cls", "2") +
                 tar_end()) == std::vector<Found>{{"p/k", 2}});
}

TEST_CASE("shards are ordered by name, and a missing one is a missing input") {
  const TemporaryFolder folder;
  write_file(folder / "t-1.tar", tar_sample("second", 2) + tar_end());
  write_file(folder / "t-0.tar", tar_sample("first", 1) + tar_end());
  const ShardSet set = ShardSet::open((folder / "t-*.tar").string());
  REQUIRE(set.samples().size() == 2);
  CHECK(set.samples()[0].key == "first");
  CHECK(set.samples()[1].shard == 1);
  CHECK_THROWS_AS(ShardSet::open((folder / "u-*.tar").string()), MissingInputError);
}

TEST_CASE("the fingerprint sees keys, labels, sizes and their order") {
  const auto fingerprint = [](const std::string& tar) {
    const TemporaryFolder folder;
    write_file(folder / "s.tar", tar);
    return ShardSet::open((folder / "s.tar").string()).fingerprint();
  };
  const std::string one = tar_sample("a", 1), two = tar_sample("b", 2), image = jpeg(1);
  const std::string base = fingerprint(one + two + tar_end());
  CHECK(base.size() == 64);
  CHECK(fingerprint(one + two + tar_end() + tar_end()) == base);
  CHECK(fingerprint(two + one + tar_end()) != base);
  CHECK(fingerprint(tar_sample("c", 1) + two + tar_end()) != base);
  CHECK(fingerprint(tar_entry("a.jpg", image) + tar_entry("a.cls", "3") + two + tar_end()) != base);
  CHECK(fingerprint(tar_entry("a.jpg", image + "x") + tar_entry("a.cls", "1") + two + tar_end()) != base);
}

}  // namespace bitfall::test
