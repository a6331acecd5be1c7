// Preprocessing without Pillow: presets, TOML files, and images that are too small.
#include "bitfall/errors.hpp"
#include "catch.hpp"
#include "sample_images.hpp"
#include "temporary_folder.hpp"

namespace bitfall::test {

namespace {

/// The message of the ConfigError for a preprocessing file with this text.
std::string config_error(const TemporaryFolder& folder, const std::string& text) {
  write_file(folder / "p.toml", text);
  try {
    static_cast<void>(preprocessing_from_name((folder / "p.toml").string()));
  } catch (const ConfigError& error) {
    REQUIRE(std::string(error.what()).find("p.toml") != std::string::npos);
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("an image that is smaller than the crop is refused") {
  Preprocessing cifar = preprocessing_from_name("cifar");
  std::vector<float> out(3 * 32 * 32);
  preprocess(sample_image(32, 32, 0), cifar, out);
  CHECK_THROWS_AS(preprocess(sample_image(31, 32, 0), cifar, out), DataError);
  CHECK_THROWS_AS(preprocess(sample_image(32, 31, 0), cifar, out), DataError);
  CHECK_THROWS_AS(preprocess(sample_image(1, 1, 0), cifar, out), DataError);
}

TEST_CASE("an extreme shape costs no more than its crop") {
  Preprocessing imagenet = preprocessing_from_name("imagenet");
  std::vector<float> out(3 * 224 * 224);
  preprocess(sample_image(1, 20000, 0), imagenet, out);  // 256 x 5,120,000 if it were resized whole
  preprocess(sample_image(20000, 1, 0), imagenet, out);
  CHECK(out[0] >= (0 - 0.485F) / 0.229F);
}

TEST_CASE("a preprocessing file changes what it names and nothing else") {
  const TemporaryFolder folder;
  write_file(folder / "p.toml", "base = 'cifar'\ncrop = 28\nchannels = 1\nmean = [0.5, 0, 1]\n");
  const Preprocessing got = preprocessing_from_name((folder / "p.toml").string());
  CHECK(got.resize == 0);
  CHECK(got.crop == 28);
  CHECK(got.channels == 1);
  CHECK(got.mean == std::array{0.5F, 0.0F, 1.0F});
  CHECK(got.std == Preprocessing{}.std);
}

TEST_CASE("a wrong preprocessing file is an error that names file and key") {
  const TemporaryFolder folder;
  CHECK(config_error(folder, "crop = 'big'").find("crop") != std::string::npos);
  CHECK(config_error(folder, "crop = -1").find("crop") != std::string::npos);
  CHECK(config_error(folder, "resize = -1").find("resize") != std::string::npos);
  CHECK(config_error(folder, "channels = 2").find("channels") != std::string::npos);
  CHECK(config_error(folder, "mean = [1, 2]").find("mean") != std::string::npos);
  CHECK(config_error(folder, "std = [1, 0, 1]").find("std") != std::string::npos);
  CHECK(config_error(folder, "std = [1, nan, 1]").find("std") != std::string::npos);
  CHECK(config_error(folder, "std = [1, 1e-60, 1]").find("std") != std::string::npos);
  CHECK(config_error(folder, "std = [1, inf, 1]").find("std") != std::string::npos);
  CHECK(config_error(folder, "mean = [0, nan, 0]").find("mean") != std::string::npos);
  CHECK(config_error(folder, "base = 'imagnet'").find("base") != std::string::npos);
  CHECK(config_error(folder, "base = 3").find("base") != std::string::npos);
  CHECK(config_error(folder, "cropp = 3").find("cropp") != std::string::npos);
  CHECK(config_error(folder, "crop = ").find(":1:") != std::string::npos);
  CHECK_THROWS_AS(preprocessing_from_name((folder / "nothing.toml").string()), UsageError);
}

}  // namespace bitfall::test
