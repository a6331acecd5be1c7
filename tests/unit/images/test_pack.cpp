// pack: a folder of classes becomes shards, always the same bytes.
#include <sys/stat.h>
#include <utime.h>

#include <map>
#include <set>

#include "bitfall/errors.hpp"
#include "catch.hpp"
#include "sample_images.hpp"
#include "temporary_folder.hpp"

namespace bitfall::test {

namespace {

/// cat/0.jpg ..., dog/..., and `count` images in each; written in the order given, which must not matter.
void make_tree(const std::filesystem::path& folder, int count, bool backwards = false) {
  for (int step = 0; step < count; ++step) {
    const int i = backwards ? count - 1 - step : step;
    for (const std::string name : {"cat", "dog", "elk"}) {
      const auto seed = static_cast<std::uint64_t>(i * 3) + static_cast<std::uint64_t>(name[0]);
      write_file(folder / name / (std::to_string(i) + (i % 2 == 0 ? ".jpg" : ".JPEG")),
                 sample_jpeg(16, 12, seed));
    }
  }
}

PackParameters parameters_of(const TemporaryFolder& folder) {
  PackParameters parameters;
  parameters.folder = folder / "images";
  parameters.prefix = (folder / "out").string();
  parameters.samples_per_shard = 5;
  return parameters;
}

/// Packs and returns every file that was written, by name.
std::map<std::string, std::string> pack(const PackParameters& parameters) {
  const PackPlan plan = plan_pack(parameters);
  for (std::size_t i = 0; i < plan.shards.size(); ++i)
    write_shard(parameters, plan, static_cast<std::int64_t>(i));
  write_class_list(parameters, plan);
  std::map<std::string, std::string> files;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::path(parameters.prefix).parent_path())) {
    if (entry.is_regular_file()) files[entry.path().filename().string()] = read_file(entry.path());
  }
  return files;
}

}  // namespace

TEST_CASE("every image of the tree is in the shards once, with its class") {
  const TemporaryFolder folder;
  make_tree(folder / "images", 4);
  const auto files = pack(parameters_of(folder));
  CHECK(files.contains("out-0002.tar"));
  CHECK_FALSE(files.contains("out-0003.tar"));
  CHECK(files.at("out-classes.json") == "[\n \"cat\",\n \"dog\",\n \"elk\"\n]\n");
  const ShardSet set = ShardSet::open((folder / "out-*.tar").string());
  std::multimap<std::string, int> expected, found;
  for (const auto& [label, name] : std::map<int, std::string>{{0, "cat"}, {1, "dog"}, {2, "elk"}}) {
    for (const auto& entry : std::filesystem::directory_iterator(folder / "images" / name))
      expected.emplace(read_file(entry.path()), label);
  }
  for (std::size_t i = 0; i < set.samples().size(); ++i) {
    const auto bytes = set.read(static_cast<std::int64_t>(i));
    found.emplace(std::string(bytes.begin(), bytes.end()), set.samples()[i].label);
  }
  CHECK(found == expected);
}

TEST_CASE("the same images give the same bytes; another seed another order") {
  const TemporaryFolder first, second, third;
  make_tree(first / "images", 4);
  make_tree(second / "images", 4, true);
  make_tree(third / "images", 4);
  const struct utimbuf old { 1000, 1000 };
  REQUIRE(utime((second / "images/cat/0.jpg").c_str(), &old) == 0);
  REQUIRE(chmod((second / "images/cat/0.jpg").c_str(), 0400) == 0);
  const auto files = pack(parameters_of(first));
  CHECK(files == pack(parameters_of(second)));
  CHECK(files == pack(parameters_of(first)));  // over the old ones
  PackParameters other = parameters_of(third);
  other.seed = 1;
  CHECK(files.at("out-0000.tar") != pack(other).at("out-0000.tar"));
}

TEST_CASE("a folder that can't be packed is an error that names the file") {
  const TemporaryFolder folder;
  const PackParameters parameters = parameters_of(folder);
  const auto message = [&]() -> std::string {
    try {
      static_cast<void>(pack(parameters));
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  const auto contains = [&](const std::string& words) {
    const std::string text = message();
    INFO(text);
    CHECK(text.find(words) != std::string::npos);
  };
  contains("does not exist");
  std::filesystem::create_directories(folder / "images/cat");
  contains("no images");
  write_file(folder / "images/cat/a.png", "x");
  contains("a.png is no .jpg");
  std::filesystem::remove(folder / "images/cat/a.png");
  write_file(folder / "images/cat/a.jpg", "not a JPEG");
  contains("a.jpg is not a JPEG file");
  CHECK_FALSE(std::filesystem::exists(folder / "out-0000.tar"));
  std::filesystem::remove(folder / "images/cat/a.jpg");
  make_tree(folder / "images", 1);
  write_file(folder / "images/cat/more/b.jpg", sample_jpeg(16, 12, 1));
  contains("more' is a folder");
}

TEST_CASE("shards of an earlier, larger set are not left to mix with the new ones") {
  const TemporaryFolder folder;
  make_tree(folder / "images", 4);
  PackParameters parameters = parameters_of(folder);
  static_cast<void>(pack(parameters));
  parameters.samples_per_shard = 100;
  std::string message;
  try {
    static_cast<void>(plan_pack(parameters));
  } catch (const UsageError& error) {
    message = error.what();
  }
  INFO(message);
  CHECK(message.find("out-0001.tar") != std::string::npos);
  std::filesystem::remove(folder / "out-0001.tar");
  std::filesystem::remove(folder / "out-0002.tar");
  CHECK(plan_pack(parameters).shards.size() == 1);
}

TEST_CASE("images without classes are packed under label 0, and names become keys where that is asked for") {
  const TemporaryFolder folder;
  for (const std::string name : {"000139.jpg", "cow.large.jpeg", "notes.txt"})
    write_file(folder / "images" / name, sample_jpeg(16, 12, name.size()));
  PackParameters parameters = parameters_of(folder);
  parameters.keep_names = true;
  const auto files = pack(parameters);
  CHECK(files.at("out-classes.json") == "[]\n");
  const ShardSet set = ShardSet::open((folder / "out-*.tar").string());
  std::set<std::string> keys;
  for (const Sample& sample : set.samples()) {
    CHECK(sample.label == 0);
    keys.insert(sample.key);
  }
  CHECK(keys == std::set<std::string>{"000139", "cow"});

  write_file(folder / "images" / "cow.small.jpg", sample_jpeg(16, 12, 5));
  CHECK_THROWS_AS(plan_pack(parameters), DataError);
  parameters.keep_names = false;
  CHECK(plan_pack(parameters).shards.front().size() == 3);
}

}  // namespace bitfall::test
