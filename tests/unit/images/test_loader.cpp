// The loader: the same batches from any number of threads, errors reach the caller, nobody hangs.
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
      std::vector<float> pixels;
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
