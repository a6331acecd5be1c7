// Run files: what goes in comes out, damage falls back, another run's file is refused.
#include "checkpoint.hpp"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>

#include "../archive/sample_archive.hpp"
#include "bitfall/errors.hpp"
#include "catch.hpp"
#include "io/files/file.hpp"

using namespace bitfall;

namespace {

namespace fs = std::filesystem;

/// A folder with a run file's context; everything the reporter says is in a log.
class Setup {
 public:
  explicit Setup(nlohmann::json fingerprint = {{"job", "test"}, {"seed", 7}})
      : fingerprint_(std::move(fingerprint)) {}

  [[nodiscard]] RunFile run_file() { return {path(), fingerprint_, context_}; }
  [[nodiscard]] RunFile run_file(nlohmann::json fingerprint) {
    return {path(), std::move(fingerprint), context_};
  }
  [[nodiscard]] std::string path(const std::string& ending = "") const {
    return (folder_ / ("a.run" + ending)).string();
  }
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> names = folder_.names();
    std::erase(names, "log.json");
    return names;
  }
  /// How many lines of the log have `text`.
  [[nodiscard]] int logged(const std::string& text) const {
    std::ifstream log(folder_ / "log.json");
    int count = 0;
    for (std::string line; std::getline(log, line);) count += line.find(text) != std::string::npos ? 1 : 0;
    return count;
  }
  JobContext& context() { return context_; }

 private:
  nlohmann::json fingerprint_;
  TemporaryFolder folder_;
  CommonOptions options_;
  Communicator communicator_ = Communicator::self();
  Reporter reporter_{true, (folder_ / "log.json").string(), false};
  JobContext context_{options_, communicator_, reporter_, 1};
};

/// A state that tells its number in every part.
Checkpoint state(std::int64_t number) {
  Checkpoint checkpoint{"layers", {{"iteration", number}, {"layer", "größe"}}, {}, {}};
  const auto seed = static_cast<std::uint64_t>(number);
  checkpoint.layers.push_back(random_layer("conv1", {16, 8, 3, 3}, 9, 16, seed));
  checkpoint.layers.push_back(random_layer("fc", {10, 32}, 4, 5, seed + 1));
  checkpoint.tensors.push_back(random_tensor("bn1.weight", {8}, seed));
  const std::vector<double> bounds = {0.1 * double(number), -0.0, 5e-324, 1e308};
  checkpoint.tensors.push_back(as_array("trainer/bounds", bounds));
  return checkpoint;
}

/// The first difference in words.
std::string difference(const Checkpoint& a, const Checkpoint& b) {
  if (a.stage != b.stage) return "stage";
  if (a.progress != b.progress) return "progress " + a.progress.dump() + " and " + b.progress.dump();
  Archive left, right;
  left.layers = a.layers, left.kept = a.tensors, right.layers = b.layers, right.kept = b.tensors;
  left.plan_json = right.plan_json = left.provenance_json = right.provenance_json = "{}";
  return difference(left, right);
}

std::int64_t iteration(const std::optional<Checkpoint>& checkpoint) {
  return checkpoint ? checkpoint->progress.at("iteration").get<std::int64_t>() : -1;
}

void damage(const std::string& file) {
  std::string bytes = read_file(file);
  bytes.at(bytes.size() / 2) = static_cast<char>(bytes.at(bytes.size() / 2) ^ 1);
  write_bytes(file, bytes);
}
void cut_short(const std::string& file) {
  const std::string bytes = read_file(file);
  write_bytes(file, bytes.substr(0, bytes.size() - 1));
}

template <class E>
std::string message_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const E& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("a checkpoint comes back with every bit", "[checkpoint]") {
  Setup setup;
  RunFile file = setup.run_file();
  CHECK(!file.load("auto"));
  file.save(state(3));
  for (const std::string& resume : {std::string("auto"), setup.path()}) {
    const auto found = setup.run_file().load(resume);
    REQUIRE(found);
    CHECK(difference(state(3), *found).empty());
    CHECK(!difference(state(4), *found).empty());
  }
  CHECK(!setup.run_file().load("no"));
}

TEST_CASE("the newest two checkpoints are kept, and none when the job is done", "[checkpoint]") {
  Setup setup;
  RunFile file = setup.run_file();
  for (const std::int64_t number : {1, 2, 3}) file.save(state(number));
  CHECK(setup.names() == std::vector<std::string>{"a.run", "a.run.previous"});
  CHECK(iteration(file.load("auto")) == 3);
  CHECK(iteration(file.load(setup.path(".previous"))) == 2);
  write_bytes(setup.path(".new"), "left by a kill");
  file.remove();
  CHECK(setup.names().empty());
  file.remove();  // nothing there is no error
}

TEST_CASE("without a path there are no checkpoints", "[checkpoint]") {
  Setup setup;
  RunFile none("", {}, setup.context());
  CHECK(!none.exists());
  none.save(state(1));
  CHECK(!none.load("auto"));
  none.remove();
  CHECK(setup.names().empty());
}

TEST_CASE("a damaged newest checkpoint falls back to the one before and says so", "[checkpoint]") {
  const auto empty = [](const std::string& path) { write_bytes(path, ""); };
  const std::vector<std::function<void(const std::string&)>> ways = {damage, cut_short, empty};
  for (const auto& way : ways) {
    Setup setup;
    setup.run_file().save(state(1));
    setup.run_file().save(state(2));
    way(setup.path());
    CHECK(iteration(setup.run_file().load("auto")) == 1);
    CHECK(setup.logged("the one before is tried") == 1);
    CHECK(setup.logged("a.run") > 0);
    // Named, it has to be good.
    CHECK_THROWS_AS(setup.run_file().load(setup.path()), DataError);
    way(setup.path(".previous"));
    CHECK(!setup.run_file().load("auto"));
    CHECK_THROWS_AS(setup.run_file().load(setup.path(".none")), MissingInputError);
  }
}

TEST_CASE("a damaged checkpoint does not take the place of the good one before it", "[checkpoint]") {
  Setup setup;
  setup.run_file().save(state(1));
  setup.run_file().save(state(2));
  damage(setup.path());
  RunFile file = setup.run_file();
  REQUIRE(iteration(file.load("auto")) == 1);
  file.save(state(3));
  CHECK(iteration(setup.run_file().load("auto")) == 3);
  cut_short(setup.path());
  CHECK(iteration(setup.run_file().load("auto")) == 1);
}

// save() writes .new, renames the newest to .previous, renames .new: a kill is possible after each.
TEST_CASE("a kill between the renames loses nothing", "[checkpoint]") {
  Setup setup;
  setup.run_file().save(state(1));
  setup.run_file().save(state(2));
  SECTION("before the first") {
    setup.run_file().save(state(3));
    fs::rename(setup.path(), setup.path(".new"));
    fs::rename(setup.path(".previous"), setup.path());
    CHECK(iteration(setup.run_file().load("auto")) == 3);
  }
  SECTION("after the first") {
    fs::rename(setup.path(), setup.path(".new"));
    CHECK(iteration(setup.run_file().load("auto")) == 2);
    setup.run_file().save(state(3));
    CHECK(setup.names() == std::vector<std::string>{"a.run", "a.run.previous"});
    CHECK(iteration(setup.run_file().load("auto")) == 3);
    damage(setup.path());
    CHECK(iteration(setup.run_file().load("auto")) == 1);
  }
  SECTION("half a file under the third name is no harm") {
    fs::rename(setup.path(), setup.path(".new"));
    cut_short(setup.path(".new"));
    CHECK(iteration(setup.run_file().load("auto")) == 1);
  }
}

TEST_CASE("a run with another fingerprint is refused and the field is named", "[checkpoint]") {
  Setup setup;
  setup.run_file().save(state(1));
  const auto refused = [&](nlohmann::json fingerprint) {
    return message_of<UsageError>([&] { (void)setup.run_file(std::move(fingerprint)).load("auto"); });
  };
  CHECK(refused({{"job", "test"}, {"seed", 7}}).empty());
  const std::string seed = refused({{"job", "test"}, {"seed", 8}});
  CHECK(seed.find("'seed' is 7, here it is 8") != std::string::npos);
  CHECK(seed.find(setup.path()) != std::string::npos);
  CHECK(refused({{"job", "other"}, {"seed", 7}}).find("'job'") != std::string::npos);
  // A later version may know a field that the file has not.
  CHECK(refused({{"job", "test"}, {"seed", 7}, {"zeal", 1}}).find("'zeal' is not known") !=
        std::string::npos);
  CHECK(iteration(setup.run_file({{"seed", 8}}).load("no")) == -1);
}

TEST_CASE("a finished archive is not overwritten by checkpoints", "[checkpoint]") {
  Setup setup;
  Archive archive = sample_archive();
  write_archive(archive, setup.path());
  const std::string message = message_of<UsageError>([&] { (void)setup.run_file().load("auto"); });
  CHECK(message.find("not a checkpoint") != std::string::npos);
  CHECK(message.find("--run-file") != std::string::npos);
}

TEST_CASE("a checkpoint that can't be written leaves the ones before", "[checkpoint]") {
  Setup setup;
  setup.run_file().save(state(1));
  setup.run_file().save(state(2));
  fs::create_directory(setup.path(".new"));  // stands in the way
  CHECK_THROWS_AS(setup.run_file().save(state(3)), IoError);
  fs::remove(setup.path(".new"));
  CHECK(setup.names() == std::vector<std::string>{"a.run", "a.run.previous"});
  CHECK(iteration(setup.run_file().load("auto")) == 2);
  CHECK(iteration(setup.run_file().load(setup.path(".previous"))) == 1);
}

TEST_CASE("arrays of a checkpoint are typed and sized", "[checkpoint]") {
  const std::vector<float> floats = {1.5F, -0.0F, 1e-45F};
  const std::vector<double> doubles = {1.0 / 3, -1e300};
  const std::vector<KeptTensor> tensors = {as_array("f", floats), as_array("d", doubles)};
  CHECK(take_array(tensors, "f", 3) == floats);
  CHECK(std::signbit(take_array(tensors, "f", 3)[1]));
  CHECK(take_doubles(tensors, "d", 2) == doubles);
  CHECK_THROWS_AS(take_array(tensors, "f", 2), DataError);
  CHECK_THROWS_AS(take_array(tensors, "d", 4), DataError);  // 16 bytes, but not of float32
  CHECK_THROWS_AS(take_doubles(tensors, "f", 1), DataError);
  CHECK(message_of<DataError>([&] { (void)take_array(tensors, "g", 1); }).find("'g'") != std::string::npos);
  for (const float bad : {HUGE_VALF, -HUGE_VALF, NAN}) {
    const std::vector<float> values = {1, bad};
    CHECK_THROWS_AS(take_array({as_array("f", values)}, "f", 2), DataError);
  }
}

// Who can write a checkpoint can seal it: its state is not to be believed.
TEST_CASE("a state without what a job reads of it is refused and the file is named", "[checkpoint]") {
  Setup setup;
  const std::string fingerprint = R"("fingerprint":{"job":"test","seed":7})";
  const auto load = [&](const std::string& state) {
    Archive archive;
    archive.plan_json = state;
    archive.provenance_json = "{}";
    write_archive(archive, setup.path());
    return setup.run_file().load(setup.path());
  };
  CHECK(load(R"({"checkpoint":1,"stage":"layers","progress":{},)" + fingerprint + "}"));
  const std::string deep = std::string(1 << 20, '[') + std::string(1 << 20, ']');
  for (const std::string& state :
       {R"({"checkpoint":1,"progress":{},)" + fingerprint + "}",
        R"({"checkpoint":1,"stage":7,"progress":{},)" + fingerprint + "}",
        R"({"checkpoint":1,"stage":"layers",)" + fingerprint + "}",
        R"({"checkpoint":1,"stage":"layers","progress":[],)" + fingerprint + "}",
        std::string(R"({"checkpoint":1,"stage":"layers","progress":{}})"),
        std::string(R"({"checkpoint":1,"stage":"layers","progress":{},"fingerprint":null})")}) {
    const std::string message = message_of<DataError>([&] { (void)load(state); });
    CHECK(message.find(setup.path()) != std::string::npos);
  }
  const std::string nested =
      R"({"checkpoint":1,"stage":"layers","progress":{"x":)" + deep + "}," + fingerprint + "}";
  CHECK_THROWS_AS(load(nested), UsageError);  // JSON so deep is none of ours
}

TEST_CASE("a number of the progress is one", "[checkpoint]") {
  const Checkpoint good{"layers", {{"iteration", 3}}, {}, {}};
  CHECK(number_in(good, "iteration") == 3);
  for (const char* bad : {R"({})", R"({"iteration":"3"})", R"({"iteration":-1})", R"({"iteration":1.5})",
                          R"({"iteration":null})", R"({"iteration":18446744073709551615})"}) {
    const Checkpoint checkpoint{"layers", nlohmann::json::parse(bad), {}, {}};
    CHECK(message_of<DataError>([&] { (void)number_in(checkpoint, "iteration"); }).find("'iteration'") !=
          std::string::npos);
  }
}
