// Training augmentation: the pixels against Pillow and torchvision, the choices against their definition.
#include "io/images/augment.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <random>
#include <set>
#include <sstream>

#include "bitfall/errors.hpp"
#include "catch.hpp"
#include "io/images/input_plan.hpp"
#include "sample_images.hpp"
#include "temporary_folder.hpp"

namespace bitfall::test {

namespace {

constexpr Augmentation resized{AugmentationKind::resized_crop, 5, 0};
constexpr Augmentation shifted{AugmentationKind::shifted_crop, 5, 0};

Preprocessing with_crop(std::int64_t crop) {
  Preprocessing preprocessing = preprocessing_from_name("cifar");
  preprocessing.crop = crop;
  return preprocessing;
}

bool same(const AugmentationChoice& a, const AugmentationChoice& b) {
  return a.window.left == b.window.left && a.window.top == b.window.top && a.window.right == b.window.right &&
         a.window.bottom == b.window.bottom && a.flip == b.flip;
}

/// The bytes behind an input that was made with mean 0 and deviation 1.
Image make_bytes(const Image& image, const InputPlan& plan) {
  Preprocessing plain;
  plain.mean = {0, 0, 0}, plain.std = {1, 1, 1};
  const std::int64_t width = plan.window.width(), height = plan.window.height(), plane = width * height;
  std::vector<float> values(static_cast<std::size_t>(3 * plane));
  InputMemory memory;
  make_input(whole(image), plan, Normaliser(plain), memory, values);
  Image result{width, height, {}};
  for (std::int64_t i = 0; i < 3 * plane; ++i)
    result.pixels.push_back(static_cast<std::uint8_t>(
        std::lround(values[static_cast<std::size_t>(i % 3 * plane + i / 3)] * 255.0F)));
  return result;
}

Image apply_choice(const Image& image, std::int64_t crop, const AugmentationChoice& choice) {
  return make_bytes(image, {choice.window, crop, crop, {0, 0, crop, crop}, choice.flip});
}

Image augment(const Image& image, const Preprocessing& preprocessing, const Augmentation& augmentation,
              std::int64_t index) {
  return make_bytes(image, plan_input(image.width, image.height, preprocessing, augmentation, index));
}

void write_ppm(const std::filesystem::path& path, const Image& image) {
  std::string text = "P6\n" + std::to_string(image.width) + " " + std::to_string(image.height) + "\n255\n";
  text.append(image.pixels.begin(), image.pixels.end());
  write_file(path, text);
}

Image read_ppm(const std::filesystem::path& path) {
  const std::string text = read_file(path);
  std::istringstream stream(text);
  std::string magic;
  int largest = 0;
  Image image;
  stream >> magic >> image.width >> image.height >> largest;
  REQUIRE((magic == "P6" && largest == 255));
  image.pixels.assign(text.begin() + static_cast<std::ptrdiff_t>(stream.tellg()) + 1, text.end());
  return image;
}

/// One image and what shall be done with it.
struct Request {
  Image image;
  AugmentationKind kind;
  std::int64_t crop;
  AugmentationChoice choice;
};

std::vector<Request> requests() {
  std::vector<Request> all;
  const auto add = [&](const Image& image, AugmentationKind kind, std::int64_t crop, const Window& window) {
    for (const bool flip : {false, true}) all.push_back({image, kind, crop, {window, flip}});
  };
  // Windows that make one pixel of many and many of one, at the edges and inside.
  const Image photo = sample_image(75, 50, 1);
  for (const std::int64_t crop : {1, 7, 32, 112}) {
    for (const Window& window : {Window{0, 0, 75, 50}, Window{0, 0, 1, 1}, Window{74, 49, 75, 50},
                                 Window{10, 20, 42, 50}, Window{33, 0, 40, 50}, Window{0, 7, 75, 9}})
      add(photo, AugmentationKind::resized_crop, crop, window);
  }
  // Every corner of the frame of 4 black pixels, and the image as it is.
  const Image small = sample_image(32, 32, 2);
  for (const std::int64_t x : {-4, -1, 0, 3, 4})
    for (const std::int64_t y : {-4, 0, 2, 4})
      add(small, AugmentationKind::shifted_crop, 32, {x, y, x + 32, y + 32});
  add(sample_image(5, 5, 3), AugmentationKind::shifted_crop, 13, {-4, -4, 9, 9});
  add(sample_image(40, 36, 3), AugmentationKind::shifted_crop, 32, {12, 8, 44, 40});
  // And what is really drawn.
  for (std::int64_t index = 0; index < 40; ++index) {
    const auto seed = static_cast<std::uint64_t>(index);
    const Image image = sample_image(30 + 3 * index, 90 - index, seed);
    const Preprocessing preprocessing = with_crop(24);
    for (const Augmentation& augmentation : {resized, shifted}) {
      all.push_back({image, augmentation.kind, 24,
                     choose_augmentation(image.width, image.height, preprocessing, augmentation, index)});
    }
  }
  return all;
}

/// Two-sample Kolmogorov-Smirnov statistic, times sqrt(n / 2) for samples of equal size: above 2.2 with
/// probability 2 exp(-2 * 2.2^2) = 1e-4.
double distance(std::vector<double> a, std::vector<double> b) {
  REQUIRE(a.size() == b.size());
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  double largest = 0;
  for (const double x : a) {
    const auto below = [x](const std::vector<double>& values) {
      return double(std::upper_bound(values.begin(), values.end(), x) - values.begin());
    };
    largest = std::max(largest, std::abs(below(a) - below(b)) / double(a.size()));
  }
  return largest * std::sqrt(double(a.size()) / 2);
}

/// torchvision.transforms.RandomResizedCrop.get_params, line by line, with another generator.
Window torchvision_window(std::int64_t width, std::int64_t height, std::mt19937_64& random) {
  const auto uniform = [&](double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(random);
  };
  const auto randint = [&](std::int64_t end) {
    return std::uniform_int_distribution<std::int64_t>(0, end - 1)(random);
  };
  const double area = double(width * height);
  for (int i = 0; i < 10; ++i) {
    const double target = area * uniform(0.08, 1.0);
    const double ratio = std::exp(uniform(std::log(3. / 4), std::log(4. / 3)));
    const auto w = std::llrint(std::sqrt(target * ratio)), h = std::llrint(std::sqrt(target / ratio));
    if (0 < w && w <= width && 0 < h && h <= height) {
      const std::int64_t top = randint(height - h + 1), left = randint(width - w + 1);
      return {left, top, left + w, top + h};
    }
  }
  std::int64_t w = width, h = height;
  if (double(width) / double(height) < 3. / 4)
    h = std::llrint(double(w) / (3. / 4));
  else if (double(width) / double(height) > 4. / 3)
    w = std::llrint(double(h) * (4. / 3));
  const std::int64_t top = (height - h) / 2, left = (width - w) / 2;
  return {left, top, left + w, top + h};
}

}  // namespace

TEST_CASE("augmented pixels equal Pillow's and torchvision's") {
  const char* python = std::getenv("BITFALL_PYTHON");
  if (python == nullptr || std::system((std::string(python) + " -c 'import PIL' 2>/dev/null").c_str()) != 0) {
    std::cout << "skipped: BITFALL_PYTHON names no Python with Pillow (./run.sh test sets it)\n";
    return;
  }
  const TemporaryFolder folder;
  const std::vector<Request> all = requests();
  std::ostringstream lines;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Request& one = all[i];
    const Window& window = one.choice.window;
    write_ppm(folder / ("in" + std::to_string(i) + ".ppm"), one.image);
    lines << (one.kind == AugmentationKind::resized_crop ? "resized" : "shifted") << " in" << i << ".ppm "
          << one.crop << " " << window.left << " " << window.top << " " << window.right << " "
          << window.bottom << " " << one.choice.flip << " out" << i << ".ppm\n";
  }
  write_file(folder / "requests.txt", lines.str());
  const std::string command =
      std::string(python) + " '" BITFALL_AUGMENT_SCRIPT "' '" + folder.path().string() + "'";
  REQUIRE(std::system(command.c_str()) == 0);
  std::istringstream described(lines.str());
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Request& one = all[i];
    std::string line;
    std::getline(described, line);
    INFO(line);
    const Image expected = read_ppm(folder / ("out" + std::to_string(i) + ".ppm"));
    const Image got = apply_choice(one.image, one.crop, one.choice);
    CHECK((got.width == expected.width && got.height == expected.height));
    CHECK((got.pixels == expected.pixels));
  }
}

TEST_CASE("a shifted window shows the image in a black frame, pixel by pixel") {
  const Image image = sample_image(9, 11, 4);
  for (const bool flip : {false, true}) {
    const AugmentationChoice choice{{-4, 3, 6, 13}, flip};
    const Image got = apply_choice(image, 10, choice);
    REQUIRE((got.width == 10 && got.height == 10));
    for (std::int64_t y = 0; y < 10; ++y) {
      for (std::int64_t x = 0; x < 10; ++x) {
        const std::int64_t from_x = (flip ? 9 - x : x) - 4, from_y = y + 3;
        const bool inside = from_x >= 0 && from_x < 9 && from_y < 11;
        for (std::int64_t c = 0; c < 3; ++c) {
          const auto place = static_cast<std::size_t>((from_y * 9 + from_x) * 3 + c);
          const int expected = inside ? image.pixels[place] : 0;
          CHECK(int(got.pixels[static_cast<std::size_t>((y * 10 + x) * 3 + c)]) == expected);
        }
      }
    }
  }
}

TEST_CASE("resized windows are distributed as torchvision's") {
  constexpr std::int64_t count = 20000;
  const std::vector<std::pair<std::int64_t, std::int64_t>> sizes = {
      {256, 256}, {500, 375}, {375, 500}, {1000, 100}, {40, 43}};
  for (const auto& [width, height] : sizes) {
    INFO(width << " x " << height);
    std::mt19937_64 random(1);
    std::vector<std::vector<double>> found(4), expected(4);
    const auto note = [&](std::vector<std::vector<double>>& values, const Window& window) {
      const auto w = double(window.right - window.left), h = double(window.bottom - window.top);
      values[0].push_back(w * h), values[1].push_back(w / h);
      values[2].push_back(double(window.left)), values[3].push_back(double(window.top));
    };
    bool inside = true, shaped = true;
    for (std::int64_t i = 0; i < count; ++i) {
      const Window window = choose_augmentation(width, height, with_crop(32), resized, i).window;
      note(found, window);
      note(expected, torchvision_window(width, height, random));
      const auto w = double(window.right - window.left), h = double(window.bottom - window.top);
      inside = inside && window.left >= 0 && window.top >= 0 && window.right <= width &&
               window.bottom <= height && w >= 1 && h >= 1;
      // Rounding moves a side by half a pixel at most.
      shaped = shaped && (w + 0.5) / (h - 0.5) >= 0.75 && (w - 0.5) / (h + 0.5) <= 4. / 3 &&
               (w + 0.5) * (h + 0.5) >= 0.08 * double(std::min(width, height) * std::min(width, height));
    }
    CHECK(inside);
    CHECK(shaped);
    for (std::size_t what = 0; what < 4; ++what) {
      INFO("area, ratio, left, top: " << what);
      CHECK(distance(found[what], expected[what]) < 2.2);
    }
  }
}

TEST_CASE("an image of extreme shape gets its largest centred window") {
  // No try can fit: 8 % of the area is wider than the image already.
  const auto tall = choose_augmentation(10, 1000, with_crop(32), resized, 3).window;
  CHECK((tall.left == 0 && tall.right == 10 && tall.top == 493 && tall.bottom == 506));
  const auto wide = choose_augmentation(1000, 10, with_crop(32), resized, 3).window;
  CHECK((wide.top == 0 && wide.bottom == 10 && wide.left == 493 && wide.right == 506));
  const auto dot = choose_augmentation(1, 1, with_crop(32), resized, 3).window;
  CHECK((dot.left == 0 && dot.top == 0 && dot.right == 1 && dot.bottom == 1));
}

TEST_CASE("shifts and flips are even and independent") {
  constexpr int count = 81 * 2 * 200;
  std::vector<int> seen(81 * 2, 0);
  for (int i = 0; i < count; ++i) {
    const AugmentationChoice choice = choose_augmentation(32, 32, with_crop(32), shifted, i);
    const Window& window = choice.window;
    REQUIRE((window.left >= -4 && window.left <= 4 && window.top >= -4 && window.top <= 4));
    REQUIRE((window.right - window.left == 32 && window.bottom - window.top == 32));
    ++seen[static_cast<std::size_t>(((window.top + 4) * 9 + window.left + 4) * 2 + (choice.flip ? 1 : 0))];
  }
  // Chi squared over 162 equal cells: mean 161, standard deviation 18.
  double chi_squared = 0;
  for (const int cell : seen) chi_squared += (cell - 200.0) * (cell - 200.0) / 200.0;
  CHECK(chi_squared < 161 + 4 * 18);
  CHECK(chi_squared > 161 - 4 * 18);  // too even is not random
}

TEST_CASE("a choice is a function of seed, epoch and image alone") {
  for (const Augmentation& augmentation : {resized, shifted}) {
    const auto choose = [&](std::uint64_t seed, std::uint64_t epoch, std::int64_t index) {
      return choose_augmentation(100, 80, with_crop(32), {augmentation.kind, seed, epoch}, index);
    };
    int other_seed = 0, other_epoch = 0, next_image = 0;
    for (std::int64_t i = 0; i < 200; ++i) {
      CHECK(same(choose(1, 2, i), choose(1, 2, i)));
      other_seed += same(choose(1, 2, i), choose(2, 2, i)) ? 1 : 0;
      other_epoch += same(choose(1, 2, i), choose(1, 3, i)) ? 1 : 0;
      next_image += same(choose(1, 2, i), choose(1, 2, i + 1)) ? 1 : 0;
    }
    // Of (68 + 9) * (48 + 9) shifts and a flip each, two are equal once in 8,778.
    CHECK(other_seed <= 2);
    CHECK(other_epoch <= 2);
    CHECK(next_image <= 2);
    // The largest images and epochs that exist have numbers of their own too.
    CHECK(!same(choose(1, (std::uint64_t{1} << 47) - 1, 7), choose(1, 7, 7)));
    CHECK(!same(choose(1, 2, std::int64_t{1} << 40), choose(1, 2, 0)));
  }
}

TEST_CASE("augmentation is what preprocessing normalises") {
  const Image image = sample_image(40, 36, 9);
  const Preprocessing cifar = with_crop(32);
  std::vector<float> got(3 * 32 * 32), expected(got.size());
  for (const Augmentation& augmentation : {resized, shifted}) {
    for (const std::int64_t index : {0, 1, 77}) {
      preprocess(image, cifar, augmentation, index, got);
      preprocess(augment(image, cifar, augmentation, index), cifar, expected);
      CHECK(got == expected);
    }
  }
  preprocess(image, cifar, Augmentation{}, 5, got);
  preprocess(image, cifar, expected);
  CHECK(got == expected);
}

TEST_CASE("an image that is too small for a shifted crop is refused with both sizes") {
  const auto message = [](std::int64_t width, std::int64_t height) -> std::string {
    try {
      (void)augment(sample_image(width, height, 0), with_crop(32), shifted, 0);
    } catch (const DataError& error) {
      return error.what();
    }
    return "";
  };
  CHECK(message(24, 24).empty());
  CHECK(message(23, 40).find("23 x 40") != std::string::npos);
  CHECK(message(40, 23).find("crop of 32") != std::string::npos);
}

TEST_CASE("augmentations have names, and auto goes by the preprocessing") {
  const Preprocessing imagenet = preprocessing_from_name("imagenet"), cifar = with_crop(32);
  CHECK(augmentation_from_name("auto", imagenet) == AugmentationKind::resized_crop);
  CHECK(augmentation_from_name("auto", cifar) == AugmentationKind::shifted_crop);
  CHECK(augmentation_from_name("none", imagenet) == AugmentationKind::none);
  CHECK(augmentation_from_name("resized-crop", cifar) == AugmentationKind::resized_crop);
  CHECK(augmentation_from_name("shifted-crop", imagenet) == AugmentationKind::shifted_crop);
  CHECK_THROWS_AS(augmentation_from_name("flip", cifar), UsageError);
}

}  // namespace bitfall::test
