#include <filesystem>
#include <fstream>

#include "bitfall/errors.hpp"
#include "catch.hpp"
#include "config_file.hpp"

using namespace bitfall;

namespace {

/// A file that lives as long as the object.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& text)
      : path_((std::filesystem::temp_directory_path() /
               ("bitfall_config_" + std::to_string(getpid()) + ".toml"))
                  .string()) {
    std::ofstream(path_) << text;
  }
  ~TemporaryFile() { std::filesystem::remove(path_); }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

struct TestJob {
  CLI::App app;
  std::string data;
  std::int64_t k = 0;
  bool flag = false;
  TestJob() {
    app.add_option("-d,--data", data);
    app.add_option("--calibration-images", k);
    app.add_flag("--bn-reestimate", flag);
  }
};

std::string message_of(const std::string& toml) {
  const TemporaryFile file(toml);
  const TestJob job;
  try {
    (void)read_config_file(file.path(), job.app);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("keys become arguments that the parser understands") {
  const TemporaryFile file("data = 'train-*.tar'\ncalibration-images = 512\nbn-reestimate = true\n");
  TestJob job;
  ConfigFile config = read_config_file(file.path(), job.app);
  std::reverse(config.arguments.begin(), config.arguments.end());
  job.app.parse(config.arguments);
  CHECK(job.data == "train-*.tar");
  CHECK(job.k == 512);
  CHECK(job.flag);
}

TEST_CASE("a flag can be switched off") {
  const TemporaryFile file("bn-reestimate = false\n");
  TestJob job;
  job.app.parse(read_config_file(file.path(), job.app).arguments);
  CHECK_FALSE(job.flag);
}

TEST_CASE("an unknown key is named together with the nearest one") {
  const std::string message = message_of("calibration_imagse = 3\n");
  CHECK(message.find("calibration_imagse") != std::string::npos);
  CHECK(message.find("'calibration-images'") != std::string::npos);
}

TEST_CASE("layer tables become overrides in order") {
  const TemporaryFile file(
      "[[layer]]\npattern = 'layer1.*'\nd = 4\n[[layer]]\npattern = 'fc'\nk = 512\nquantize = false\n");
  const TestJob job;
  const ConfigFile config = read_config_file(file.path(), job.app);
  REQUIRE(config.overrides.size() == 2);
  CHECK(config.overrides[0].pattern == "layer1.*");
  CHECK(config.overrides[0].d == 4);
  CHECK_FALSE(config.overrides[0].k.has_value());
  CHECK(config.overrides[1].k == 512);
  CHECK(config.overrides[1].quantize == false);
}

TEST_CASE("bad files are refused with a sentence") {
  CHECK(message_of("data = \n").find(":1:") != std::string::npos);
  CHECK(message_of("data = [1, 2]\n").find("'data'") != std::string::npos);
  CHECK(message_of("[[layer]]\nd = 4\n").find("pattern") != std::string::npos);
  CHECK(message_of("[[layer]]\npattern = 'x'\nd = 'four'\n").find("layer.d") != std::string::npos);
  CHECK(message_of("[[layer]]\npattern = 'x'\nkk = 4\n").find("layer.k") != std::string::npos);
  CHECK(message_of("[layer]\npattern = 'x'\n").find("[[layer]]") != std::string::npos);
  const TestJob job;
  CHECK_THROWS_AS(read_config_file("/nonexistent/bitfall.toml", job.app), MissingInputError);
}
