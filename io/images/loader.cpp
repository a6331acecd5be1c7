#include <algorithm>
#include <condition_variable>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <thread>

#include "bitfall/errors.hpp"
#include "bitfall/images.hpp"
#include "input_plan.hpp"
#include "jpeg.hpp"

namespace bitfall {

/// Threads take batches in order; finished ones wait in `ready` until next() asks for them. At most
/// `prefetch` batches are ahead of the consumer, so memory stays bounded.
struct BatchLoader::Impl {
  const ShardSet& shards;
  Preprocessing preprocessing;
  Normaliser normaliser;
  std::vector<std::vector<std::int64_t>> batches;
  std::size_t prefetch;
  Augmentation augmentation;
  std::shared_ptr<BlockPool> memory_pool = std::make_shared<BlockPool>();

  struct Outcome {
    Batch batch;
    std::exception_ptr error;
  };
  std::mutex mutex;
  std::condition_variable_any changed;
  std::map<std::size_t, Outcome> ready;
  std::size_t taken = 0;      ///< next batch for a thread
  std::size_t delivered = 0;  ///< next batch for the consumer
  /// Last: destroyed first. A jthread asks its thread to stop and joins it, also when starting a later one
  /// fails.
  std::vector<std::jthread> threads;

  Impl(const ShardSet& set, Preprocessing how, std::vector<std::vector<std::int64_t>> list, int count,
       int ahead, Augmentation how_to_vary)
      : shards(set),
        preprocessing(std::move(how)),
        normaliser(preprocessing),
        batches(std::move(list)),
        prefetch(static_cast<std::size_t>(std::max(ahead, count))),
        augmentation(how_to_vary) {
    BITFALL_ASSERT(count >= 1, "a loader has threads");
    for (int i = 0; i < count; ++i)
      threads.emplace_back([this](const std::stop_token& stop) { decode(stop); });
  }

  ~Impl() {
    for (std::jthread& thread : threads) thread.request_stop();  // all of them before the first is waited for
  }

  void decode(const std::stop_token& stop) {
    constexpr std::size_t most_kept = std::size_t{1} << 24;
    InputMemory memory;
    for (;;) {
      std::size_t index = 0;
      {
        std::unique_lock lock(mutex);
        changed.wait(lock, stop, [&] { return taken >= batches.size() || taken < delivered + prefetch; });
        if (stop.stop_requested() || taken >= batches.size()) return;
        index = taken++;
      }
      Outcome outcome;
      try {
        outcome.batch = load(batches[index], memory);
      } catch (...) {
        outcome.error = std::current_exception();
      }
      {
        const std::lock_guard lock(mutex);
        ready.emplace(index, std::move(outcome));
      }
      changed.notify_all();
      if (memory.decoded.capacity() > most_kept) memory = {};  // of a huge picture, for the others to have
    }
  }

  /// Decodes what is needed of sample `index`, and appends its input to what the batch has already.
  void append_image(std::int64_t index, std::span<const std::uint8_t> jpeg, InputMemory& memory,
                    Batch& batch) const {
    const std::string name = shards.name_of(index);
    JpegFile file(jpeg, name);
    const auto [width, height] = input_size(file.width(), file.height(), preprocessing);
    const InputPlan plan = plan_of(file, name, index);
    const ImagePart part = file.decode(plan.needed(file.width(), file.height()), memory.decoded);
    const std::size_t before = batch.pixels.size();
    if (before == 0) {
      batch.width = width, batch.height = height;
      batch.pixels.reserve(static_cast<std::size_t>(batch.count * batch.channels * height * width));
    }
    require_same_size(batch, width, height);
    batch.pixels.resize(before + static_cast<std::size_t>(batch.channels * width * height));
    make_input(part, plan, normaliser, memory, std::span(batch.pixels).subspan(before));
  }

  [[nodiscard]] InputPlan plan_of(const JpegFile& file, const std::string& name, std::int64_t index) const {
    try {
      return plan_input(file.width(), file.height(), preprocessing, augmentation, index);
    } catch (const DataError& error) {
      throw DataError(name + ": " + error.what());
    }
  }

  /// Only where images keep their sizes can it differ. Not an image's fault, so none is passed over for it.
  static void require_same_size(const Batch& batch, std::int64_t width, std::int64_t height) {
    if (width == batch.width && height == batch.height) return;
    throw UsageError("images of a micro-batch have different sizes (" + std::to_string(batch.width) + " x " +
                     std::to_string(batch.height) + " and " + std::to_string(width) + " x " +
                     std::to_string(height) + "): give --micro-batch 1, or a --preprocess with a crop");
  }

  /// Appends sample `index`, or the first one after it that can be decoded; returns which. A shard that
  /// can't be read is an error in any case.
  [[nodiscard]] std::int64_t append_or_next(std::int64_t index, InputMemory& memory, Batch& batch) const {
    const auto count = static_cast<std::int64_t>(shards.samples().size());
    for (std::int64_t tried = 0; tried < count; ++tried, index = (index + 1) % count) {
      const std::vector<std::uint8_t> jpeg = shards.read(index);
      try {
        append_image(index, jpeg, memory, batch);
        return index;
      } catch (const DataError& error) {
        shards.bad_images().note(index, error.what());
      }
    }
    throw DataError("no image of the set can be decoded; the last one tried is " + shards.name_of(index));
  }

  [[nodiscard]] Batch load(const std::vector<std::int64_t>& indices, InputMemory& memory) const {
    Batch batch;
    batch.pixels = PixelVector(PixelAllocator<float>(memory_pool));
    batch.indices = indices;
    batch.count = static_cast<std::int64_t>(indices.size());
    batch.channels = preprocessing.channels;
    for (std::int64_t i = 0; i < batch.count; ++i) {
      const std::int64_t wanted = indices[static_cast<std::size_t>(i)];
      const std::int64_t found = append_or_next(wanted, memory, batch);
      batch.labels.push_back(shards.samples()[static_cast<std::size_t>(found)].label);
      if (found != wanted) batch.replaced.push_back(i);
    }
    return batch;
  }

  bool next(Batch& batch) {
    std::unique_lock lock(mutex);
    if (delivered >= batches.size()) return false;
    changed.wait(lock, [&] { return ready.contains(delivered); });
    auto node = ready.extract(delivered++);
    lock.unlock();
    changed.notify_all();
    if (node.mapped().error) std::rethrow_exception(node.mapped().error);
    batch = std::move(node.mapped().batch);
    return true;
  }
};

BatchLoader::BatchLoader(const ShardSet& shards, Preprocessing preprocessing,
                         std::vector<std::vector<std::int64_t>> batches, int threads, int prefetch,
                         Augmentation augmentation)
    : impl_(std::make_unique<Impl>(shards, std::move(preprocessing), std::move(batches), threads, prefetch,
                                   augmentation)) {}
BatchLoader::~BatchLoader() = default;

bool BatchLoader::next(Batch& batch) {
  return impl_->next(batch);
}

}  // namespace bitfall
