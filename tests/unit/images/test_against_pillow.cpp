// Decoding, resizing and preprocessing against Pillow and torchvision, byte for byte.
#include <turbojpeg.h>

#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>

#include "bitfall/images.hpp"
#include "catch.hpp"
#include "sample_images.hpp"
#include "temporary_folder.hpp"

namespace bitfall::test {

namespace {

struct Case {
  std::string kind, input, expected;
  Preprocessing preprocessing;
};

/// Chroma layouts that Pillow can't write: 4:4:0 and 4:1:1, and YCCK as TurboJPEG makes it.
void write_rare_layouts(const TemporaryFolder& folder) {
  const std::unique_ptr<void, int (*)(tjhandle)> handle(tjInitCompress(), tjDestroy);
  for (const int width : {1, 7, 33, 130}) {
    const int height = 70 - width / 2;
    const Image image = sample_image(width, height * 4 / 3 + 1, 5);  // enough bytes for CMYK too
    for (const int layout : {TJSAMP_440, TJSAMP_411, TJSAMP_420}) {
      for (const int format : {TJPF_RGB, TJPF_CMYK}) {
        unsigned char* jpeg = nullptr;
        unsigned long size = 0;
        REQUIRE(tjCompress2(handle.get(), image.pixels.data(), width, 0, height, format, &jpeg, &size, layout,
                            80, TJFLAG_ACCURATEDCT) == 0);
        const std::string name =
            "turbo-" + std::to_string(width) + "-" + std::to_string(layout) + "-" + std::to_string(format);
        write_file(folder / (name + ".jpg"), std::string(jpeg, jpeg + size));
        tjFree(jpeg);
      }
    }
  }
}

/// Runs the reference script once. Empty where there is no Python with Pillow.
std::vector<Case> make_cases(const TemporaryFolder& folder) {
  const char* python = std::getenv("BITFALL_PYTHON");
  if (python == nullptr || std::system((std::string(python) + " -c 'import PIL' 2>/dev/null").c_str()) != 0) {
    std::cout << "skipped: BITFALL_PYTHON names no Python with Pillow (./run.sh test sets it)\n";
    return {};
  }
  write_rare_layouts(folder);
  const std::string command =
      std::string(python) + " '" BITFALL_REFERENCE_SCRIPT "' '" + folder.path().string() + "'";
  REQUIRE(std::system(command.c_str()) == 0);
  std::vector<Case> cases;
  std::istringstream lines(read_file(folder / "cases.txt"));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    Case& one = cases.emplace_back();
    words >> one.kind >> one.input >> one.expected;
    if (one.kind == "preprocess")
      words >> one.preprocessing.resize >> one.preprocessing.crop >> one.preprocessing.channels;
    REQUIRE(!words.fail());
  }
  return cases;
}

Image read_ppm(const std::filesystem::path& path) {
  const std::string text = read_file(path);
  std::istringstream stream(text);
  std::string magic;
  Image image;
  int largest = 0;
  stream >> magic >> image.width >> image.height >> largest;
  REQUIRE((magic == "P6" && largest == 255));
  const auto first = static_cast<std::size_t>(stream.tellg()) + 1;
  image.pixels.assign(text.begin() + static_cast<std::ptrdiff_t>(first), text.end());
  REQUIRE(static_cast<std::int64_t>(image.pixels.size()) == image.width * image.height * 3);
  return image;
}

/// Empty when equal, otherwise what differs.
std::string difference(const Image& got, const Image& expected) {
  if (got.width != expected.width || got.height != expected.height) return "another size";
  for (std::size_t i = 0; i < expected.pixels.size(); ++i) {
    if (got.pixels.at(i) != expected.pixels[i])
      return "byte " + std::to_string(i) + " is " + std::to_string(got.pixels[i]) + ", not " +
             std::to_string(expected.pixels[i]);
  }
  return "";
}

std::string check(const TemporaryFolder& folder, const Case& one) {
  const std::string input = read_file(folder / one.input);
  if (one.kind == "decode")
    return difference(decode_jpeg(as_bytes(input), one.input), read_ppm(folder / one.expected));
  if (one.kind == "resize") {
    const Image expected = read_ppm(folder / one.expected);
    return difference(resize_bilinear(read_ppm(folder / one.input), expected.width, expected.height),
                      expected);
  }
  const std::string expected = read_file(folder / one.expected);
  std::vector<float> values(expected.size() / sizeof(float));
  preprocess(decode_jpeg(as_bytes(input), one.input), one.preprocessing, values);
  return std::memcmp(values.data(), expected.data(), expected.size()) == 0 ? "" : "other values";
}

}  // namespace

TEST_CASE("decoding, resizing and preprocessing equal Pillow's and torchvision's bytes") {
  const TemporaryFolder folder;
  std::map<std::string, int> compared;
  std::vector<std::string> wrong;
  for (const Case& one : make_cases(folder)) {
    // torchvision pads an image that is smaller than the crop; bitfall refuses it (test_preprocess.cpp).
    const std::string difference = check(folder, one);
    if (!difference.empty()) wrong.push_back(one.input + " -> " + one.expected + ": " + difference);
    ++compared[one.kind];
  }
  for (const std::string& line : wrong) UNSCOPED_INFO(line);
  CHECK(wrong.empty());
  for (const auto& [kind, count] : compared) {
    std::cout << kind << ": " << count << " comparisons\n";
    CHECK(count > 50);
  }
}

}  // namespace bitfall::test
