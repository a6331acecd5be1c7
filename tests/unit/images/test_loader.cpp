// The loader: the same batches from any number of threads, errors reach the caller, nobody hangs.
#include <algorithm>
#include <chrono>
#include <thread>

#include "bitfall/errors.hpp"
#include "catch.hpp"
#include "tar_builder.hpp"
#include "temporary_folder.hpp"

namespace bitfall::test {

namespace {

using Batches = std::vector<std::vector<std::int64_t>>;

Preprocessing small_input() {
  Preprocessing how;
  how.resize = 12;
  how.crop = 10;
  return how;
}

/// `count` samples in two shards, labels 0, 1, ...; the JPEG of `broken` is cut (-1: none).
ShardSet make_set(const TemporaryFolder& folder, int count, int broken = -1) {
  std::string tars[2];
  for (int i = 0; i < count; ++i) {
    std::string image = sample_jpeg(16 + i % 5, 12 + i % 3, static_cast<std::uint64_t>(i));
    if (i == broken) image.resize(image.size() / 2);
    char key[16];
    std::snprintf(key, sizeof key, "k%04d", i);
    tars[i < count / 2 ? 0 : 1] +=
        tar_entry(std::string(key) + ".jpg", image) + tar_entry(std::string(key) + ".cls", std::to_string(i));
  }
  write_file(folder / "s-0.tar", tars[0] + tar_end());
  write_file(folder / "s-1.tar", tars[1] + tar_end());
  return ShardSet::open((folder / "s-*.tar").string());
}

Batches make_batches(std::int64_t samples, std::int64_t size) {
  Batches batches;
  for (std::int64_t i = 0; i < samples; ++i) {
    if (i % size == 0) batches.emplace_back();
    batches.back().push_back((i * 7 + 3) % samples);
  }
  return batches;
}

std::vector<Batch> load_all(const ShardSet& set, const Batches& batches, int threads, int prefetch) {
  BatchLoader loader(set, small_input(), batches, threads, prefetch);
  std::vector<Batch> loaded;
  for (Batch batch; loader.next(batch);) loaded.push_back(std::move(batch));
  return loaded;
}

}  // namespace

TEST_CASE("batches are what one loop over the samples makes, on any number of threads") {
  const TemporaryFolder folder;
  const ShardSet set = make_set(folder, 26);
  const Batches batches = make_batches(26, 4);
  for (const auto& [threads, prefetch] : {std::pair{1, 1}, {1, 4}, {2, 1}, {3, 8}, {8, 2}}) {
    const std::vector<Batch> loaded = load_all(set, batches, threads, prefetch);
    REQUIRE(loaded.size() == batches.size());
    for (std::size_t b = 0; b < batches.size(); ++b) {
      PixelVector pixels;
      std::vector<std::int64_t> labels;
      for (const std::int64_t index : batches[b]) {
        std::vector<float> one(300);
        preprocess(decode_jpeg(set.read(index), "image"), small_input(), one);
        pixels.insert(pixels.end(), one.begin(), one.end());
        labels.push_back(index);
      }
      CHECK(loaded[b].indices == batches[b]);
      CHECK(loaded[b].labels == labels);
      CHECK(loaded[b].pixels == pixels);
      CHECK(loaded[b].count == static_cast<std::int64_t>(batches[b].size()));
    }
  }
}

TEST_CASE("without a crop images keep their sizes") {
  const TemporaryFolder folder;
  const ShardSet set = make_set(folder, 8);
  const Preprocessing how = preprocessing_from_name("detection");
  BatchLoader loader(set, how, make_batches(8, 1), 2, 2);
  std::int64_t count = 0;
  for (Batch batch; loader.next(batch); ++count) {
    const Image image = decode_jpeg(set.read(batch.indices.front()), "image");
    REQUIRE(batch.width == image.width);
    REQUIRE(batch.height == image.height);
    const auto pixels = static_cast<std::size_t>(image.width * image.height);
    REQUIRE(batch.pixels.size() == 3 * pixels);
    for (std::size_t i = 0; i < pixels; ++i) {
      for (std::size_t channel = 0; channel < 3; ++channel)
        REQUIRE(batch.pixels[channel * pixels + i] ==
                static_cast<float>(image.pixels[3 * i + channel]) / 255.0F);
    }
  }
  CHECK(count == 8);
  // 16 x 12 and 17 x 13 in one batch
  BatchLoader mixed(set, how, {{0, 1}}, 1, 1);
  Batch batch;
  try {
    mixed.next(batch);
    FAIL("a batch of two sizes");
  } catch (const UsageError& error) {
    CHECK(std::string(error.what()).find("--micro-batch 1") != std::string::npos);
  }
}

TEST_CASE("a resize without a crop keeps the sides' ratio") {
  const TemporaryFolder folder;
  const ShardSet set = make_set(folder, 2);  // 16 x 12 and 17 x 13
  Preprocessing how = preprocessing_from_name("detection");
  how.resize = 6;
  BatchLoader loader(set, how, {{0}, {1}}, 1, 1);
  Batch batch;
  REQUIRE(loader.next(batch));
  CHECK((batch.width == 8 && batch.height == 6));
  const Image small = resize_bilinear(decode_jpeg(set.read(0), "image"), 8, 6);
  CHECK(batch.pixels.front() == static_cast<float>(small.pixels.front()) / 255.0F);
  REQUIRE(loader.next(batch));
  CHECK((batch.width == 7 && batch.height == 6));
}

TEST_CASE("a batch does not depend on which rank loads it") {
  const TemporaryFolder folder;
  const ShardSet set = make_set(folder, 26);
  const Batches batches = make_batches(26, 3);
  const std::vector<Batch> alone = load_all(set, batches, 1, 1);
  for (const std::size_t ranks : {2U, 3U}) {
    for (std::size_t rank = 0; rank < ranks; ++rank) {
      Batches mine;
      for (std::size_t b = rank; b < batches.size(); b += ranks) mine.push_back(batches[b]);
      const std::vector<Batch> loaded = load_all(set, mine, 2, 2);
      REQUIRE(loaded.size() == mine.size());
      for (std::size_t b = 0; b < mine.size(); ++b) CHECK(loaded[b].pixels == alone[rank + b * ranks].pixels);
    }
  }
}

TEST_CASE("an error of a decoding thread reaches the caller at its batch, and the others are whole") {
  const TemporaryFolder folder;
  const ShardSet set = make_set(folder, 20, 13);
  BatchLoader loader(set, small_input(), {{0, 1}, {2, 3}, {12, 13}, {4}}, 3);
  Batch batch;
  CHECK(loader.next(batch));
  CHECK(loader.next(batch));
  std::string message;
  try {
    loader.next(batch);
  } catch (const DataError& error) {
    message = error.what();
  }
  INFO(message);
  CHECK(message.find("s-1.tar: k0013.jpg: not a usable JPEG") != std::string::npos);
  CHECK(loader.next(batch));
  CHECK(batch.labels == std::vector<std::int64_t>{4});
  CHECK_FALSE(loader.next(batch));
}

TEST_CASE(
    "images that can't be decoded are passed over up to a number, the same ones on any number of threads") {
  const TemporaryFolder folder;
  ShardSet set = make_set(folder, 20, 6);
  const Batches batches = make_batches(20, 6);
  set.allow_bad_images(1);
  for (const int threads : {1, 3}) {
    const std::vector<Batch> loaded = load_all(set, batches, threads, 2);
    REQUIRE(loaded.size() == batches.size());
    const Batches alone = {{7}};
    const Batch next = load_all(set, alone, 1, 1).front();
    int replaced = 0;
    for (std::size_t b = 0; b < loaded.size(); ++b) {
      for (std::size_t i = 0; i < batches[b].size(); ++i) {
        const bool bad = batches[b][i] == 6;
        CHECK(loaded[b].indices[i] == batches[b][i]);
        CHECK(loaded[b].labels[i] == (bad ? 7 : batches[b][i]));
        if (!bad) continue;
        ++replaced;
        CHECK(loaded[b].replaced == std::vector<std::int64_t>{static_cast<std::int64_t>(i)});
        const auto first = loaded[b].pixels.begin() + static_cast<std::ptrdiff_t>(i * next.pixels.size());
        CHECK(std::equal(next.pixels.begin(), next.pixels.end(), first));
      }
    }
    CHECK(replaced == 1);
  }
  CHECK(set.bad_images().samples() == std::vector<std::int64_t>{6});
}

TEST_CASE("one image more than may be bad is an error that names it and the option") {
  const TemporaryFolder folder;
  std::string tar;
  for (int i = 0; i < 4; ++i) {
    const std::string key = std::to_string(i);
    tar += tar_entry(key + ".jpg", i == 1 || i == 2 ? "none" : sample_jpeg(16, 16, 1)) +
           tar_entry(key + ".cls", "0");
  }
  write_file(folder / "s.tar", tar + tar_end());
  ShardSet set = ShardSet::open((folder / "s.tar").string());
  const auto message = [&]() -> std::string {
    try {
      (void)load_all(set, {{0, 1, 2, 3}}, 1, 1);
    } catch (const DataError& error) {
      return error.what();
    }
    return "";
  };
  const std::string none = message();
  CHECK(none.find("s.tar: 1.jpg") != std::string::npos);
  CHECK(none.find("--max-bad-images") == std::string::npos);
  set.allow_bad_images(1);
  const std::string one = message();
  CHECK(one.find("s.tar: 2.jpg") != std::string::npos);
  CHECK(one.find("--max-bad-images 1") != std::string::npos);
  set.allow_bad_images(2);
  CHECK(message().empty());
  // The last one is replaced by the first of the set.
  write_file(folder / "t.tar", tar_entry("0.jpg", sample_jpeg(16, 16, 1)) + tar_entry("0.cls", "4") +
                                   tar_entry("1.jpg", "") + tar_entry("1.cls", "5") + tar_end());
  ShardSet last = ShardSet::open((folder / "t.tar").string());
  last.allow_bad_images(9);
  CHECK(load_all(last, {{1}}, 1, 1).front().labels == std::vector<std::int64_t>{4});
  // A set without any image that can be decoded is an error however many are allowed.
  write_file(folder / "u.tar", tar_entry("0.jpg", "") + tar_entry("0.cls", "4") + tar_end());
  ShardSet nothing = ShardSet::open((folder / "u.tar").string());
  nothing.allow_bad_images(9);
  CHECK_THROWS_AS(load_all(nothing, {{0}}, 1, 1), DataError);
}

TEST_CASE("an image that is too small for the crop is named") {
  const TemporaryFolder folder;
  const ShardSet set = make_set(folder, 4);
  Preprocessing how = small_input();
  how.resize = 0, how.crop = 13;
  BatchLoader loader(set, how, {{0}}, 1);
  Batch batch;
  std::string message;
  try {
    loader.next(batch);
  } catch (const DataError& error) {
    message = error.what();
  }
  INFO(message);
  CHECK(message.find("s-0.tar: k0000.jpg: an image of") != std::string::npos);
}

TEST_CASE("a loader that is left early ends at once") {
  const TemporaryFolder folder;
  const ShardSet set = make_set(folder, 40, 5);
  for (int trial = 0; trial < 100; ++trial) {
    BatchLoader loader(set, small_input(), make_batches(40, 2), 1 + trial % 4, 1 + trial % 3);
    Batch batch;
    for (int taken = 0; taken < trial % 3; ++taken) static_cast<void>(loader.next(batch));
    if (trial % 5 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

TEST_CASE("no batches, empty batches and no threads") {
  const TemporaryFolder folder;
  const ShardSet set = make_set(folder, 4);
  Batch batch;
  CHECK_FALSE(BatchLoader(set, small_input(), {}, 2).next(batch));
  CHECK(load_all(set, {{}, {1}}, 2, 2).at(0).pixels.empty());
  CHECK_THROWS_AS(BatchLoader(set, small_input(), {{0}}, 0), InternalError);
}

}  // namespace bitfall::test
