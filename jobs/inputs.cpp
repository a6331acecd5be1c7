#include "inputs.hpp"

#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <numeric>

#include "bitfall/errors.hpp"
#include "bitfall/random.hpp"
#include "io/files/file.hpp"
#include "io/files/sha256.hpp"
#include "kept.hpp"

namespace bitfall {

LoadedNetwork load_network(const std::string& path, const Communicator& communicator,
                           const std::string& logits) {
  std::string bytes;
  communicator.guarded("reading " + path, [&] {
    if (communicator.is_root()) bytes = read_file(path);
  });
  communicator.broadcast(bytes);
  std::optional<LoadedNetwork> loaded;
  communicator.guarded("loading " + path, [&] {
    const auto size = static_cast<std::int64_t>(bytes.size());
    const std::string digest = to_hex(sha256(bytes));
    if (looks_like_hdf5(bytes)) {
      Archive archive = parse_archive(bytes, path);
      Network network = restore_network(archive, path);
      loaded = LoadedNetwork{std::move(network), std::move(archive), size, digest};
    } else {
      loaded = LoadedNetwork{Network::from_bytes(bytes, path), std::nullopt, size, digest};
    }
  });
  if (!logits.empty()) loaded->network.choose_logits(logits);
  return std::move(*loaded);
}

void add_logits_option(CLI::App& job, std::string& part) {
  job.add_option("--logits", part,
                 "of a network that returns a tuple or a dictionary: the place, field or key of the logits "
                 "(default: a tuple's first, a dictionary's out or logits)");
}

void add_data_options(CLI::App& job, DataOptions& options) {
  job.add_option("-d,--data", options.shards, "glob of WebDataset shards, quoted: 'train-*.tar'")->required();
  job.add_option("--preprocess", options.preprocess, "imagenet, cifar or a TOML file")->capture_default_str();
  add_logits_option(job, options.logits);
  job.add_option("--micro-batch", options.micro_batch, "images that go through the network together")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
}

std::vector<std::vector<std::int64_t>> cut_micro_batches(const std::vector<std::int64_t>& samples,
                                                         std::int64_t micro_batch) {
  std::vector<std::vector<std::int64_t>> batches;
  for (std::size_t first = 0; first < samples.size(); first += static_cast<std::size_t>(micro_batch)) {
    const std::size_t last = std::min(samples.size(), first + static_cast<std::size_t>(micro_batch));
    batches.emplace_back(samples.begin() + static_cast<std::ptrdiff_t>(first),
                         samples.begin() + static_cast<std::ptrdiff_t>(last));
  }
  return batches;
}

std::vector<std::vector<std::int64_t>> local_micro_batches(const std::vector<std::vector<std::int64_t>>& all,
                                                           const Communicator& communicator) {
  const auto range = communicator.share(static_cast<std::int64_t>(all.size()));
  return {all.begin() + range.first, all.begin() + range.last};
}

std::vector<std::int64_t> choose_samples(std::int64_t available, std::int64_t count, std::uint64_t seed) {
  std::vector<std::int64_t> chosen(static_cast<std::size_t>(available));
  std::iota(chosen.begin(), chosen.end(), std::int64_t{0});
  if (count <= 0 || count >= available) return chosen;
  // The `count` samples with the smallest random keys are a uniform choice; the index breaks ties.
  std::vector<std::uint64_t> keys(chosen.size());
  for (std::size_t i = 0; i < keys.size(); ++i)
    keys[i] = random_bits(seed, random_stream::calibration_images, i);
  const auto smaller = [&](std::int64_t a, std::int64_t b) {
    return std::pair(keys[static_cast<std::size_t>(a)], a) < std::pair(keys[static_cast<std::size_t>(b)], b);
  };
  std::nth_element(chosen.begin(), chosen.begin() + count, chosen.end(), smaller);
  chosen.resize(static_cast<std::size_t>(count));
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

at::Tensor to_tensor(Batch&& batch) {
  auto pixels = std::make_shared<std::vector<float>>(std::move(batch.pixels));
  return at::from_blob(
      pixels->data(), {batch.count, batch.channels, batch.height, batch.width},
      [pixels](void*) mutable { pixels.reset(); }, at::TensorOptions().dtype(at::kFloat));
}

ShardSet open_shards(const std::string& pattern, const JobContext& context) {
  std::optional<ShardSet> shards;
  context.communicator.guarded("opening the shards " + pattern, [&] { shards = ShardSet::open(pattern); });
  if (!shards->warning().empty()) context.reporter.warning(shards->warning());
  return std::move(*shards);
}

std::vector<at::Tensor> load_inputs(const ShardSet& shards, const Preprocessing& preprocessing,
                                    const std::vector<std::vector<std::int64_t>>& local, int threads,
                                    const Communicator& communicator) {
  std::vector<at::Tensor> inputs;
  communicator.guarded("decoding the images", [&] {
    BatchLoader loader(shards, preprocessing, local, threads);
    Batch batch;
    while (loader.next(batch)) inputs.push_back(to_tensor(std::move(batch)));
  });
  return inputs;
}

}  // namespace bitfall
