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

namespace {

std::string read_on_root(const std::string& path, const Communicator& communicator) {
  std::string bytes;
  communicator.guarded("reading " + path, [&] {
    if (communicator.is_root()) bytes = read_file(path);
  });
  communicator.broadcast(bytes);
  return bytes;
}

}  // namespace

LoadedNetwork load_network(const std::string& path, const Communicator& communicator,
                           const std::string& model, const std::string& logits) {
  const std::string bytes = read_on_root(path, communicator);
  const std::string own_model = model.empty() ? "" : read_on_root(model, communicator);
  std::optional<LoadedNetwork> loaded;
  communicator.guarded("loading " + path, [&] {
    const auto size = static_cast<std::int64_t>(bytes.size());
    const std::string digest = to_hex(sha256(bytes));
    if (looks_like_hdf5(bytes)) {
      Archive archive = parse_archive(bytes, path);
      if (!model.empty()) archive.model = own_model;
      Network network = restore_network(archive, path);
      loaded = LoadedNetwork{std::move(network), std::move(archive), size, digest};
    } else {
      loaded = LoadedNetwork{Network::from_bytes(bytes, path), std::nullopt, size, digest};
    }
  });
  if (!logits.empty()) loaded->network.choose_logits(logits);
  return std::move(*loaded);
}

void add_model_option(CLI::App& job, std::string& model) {
  job.add_option("--model", model,
                 "TorchScript of an archive's network, to run in place of the one that the archive carries");
}

void add_no_model_option(CLI::App& job, bool& no_embedded_model) {
  job.add_flag("--no-embedded-model", no_embedded_model,
               "leave the network's TorchScript out of the archive (docs/security.md)");
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
  job.add_option("--max-bad-images", options.max_bad_images,
                 "pass over up to so many images that can't be decoded; each is replaced by the next one")
      ->check(CLI::NonNegativeNumber)
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

std::array<std::int64_t, 3> largest_input(const ShardSet& shards, const Preprocessing& preprocessing,
                                          const std::vector<std::int64_t>& samples,
                                          const Communicator& communicator) {
  if (preprocessing.crop > 0) return {preprocessing.channels, preprocessing.crop, preprocessing.crop};
  std::int64_t height = 1, width = 1;
  communicator.guarded("reading the images' sizes", [&] {
    const auto share = communicator.share(static_cast<std::int64_t>(samples.size()));
    for (std::int64_t i = share.first; i < share.last; ++i) {
      const std::int64_t sample = samples[static_cast<std::size_t>(i)];
      const std::vector<std::uint8_t> jpeg = shards.read(sample);
      try {
        const auto [across, down] = jpeg_size(jpeg, shards.name_of(sample));
        const auto [input_width, input_height] = input_size(across, down, preprocessing);
        width = std::max(width, input_width);
        height = std::max(height, input_height);
      } catch (const DataError&) {  // the loader will say so, or pass over it
        continue;
      }
    }
  });
  return {preprocessing.channels, communicator.max(height), communicator.max(width)};
}

at::Tensor to_tensor(Batch&& batch) {
  auto pixels = std::make_shared<decltype(batch.pixels)>(std::move(batch.pixels));
  return at::from_blob(
      pixels->data(), {batch.count, batch.channels, batch.height, batch.width},
      [pixels](void*) mutable { pixels.reset(); }, at::TensorOptions().dtype(at::kFloat));
}

std::vector<Batch> next_batches(BatchLoader& loader, std::int64_t count) {
  std::vector<Batch> batches;
  for (Batch batch; static_cast<std::int64_t>(batches.size()) < count && loader.next(batch);)
    batches.push_back(std::move(batch));
  return batches;
}

ShardSet open_shards(const DataOptions& options, const JobContext& context) {
  std::optional<ShardSet> shards;
  context.communicator.guarded("opening the shards " + options.shards,
                               [&] { shards = ShardSet::open(options.shards); });
  if (!shards->warning().empty()) context.reporter.warning(shards->warning());
  shards->allow_bad_images(options.max_bad_images);
  return std::move(*shards);
}

std::int64_t agree_on_bad_images(const ShardSet& shards, const JobContext& context) {
  const std::int64_t most = shards.bad_images().most();
  if (most == 0) return 0;
  const std::vector<std::int64_t> mine = shards.bad_images().samples();
  std::vector<std::int64_t> all = context.communicator.all_gather(std::span<const std::int64_t>(mine));
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  const auto count = static_cast<std::int64_t>(all.size());
  if (count == 0) return 0;
  constexpr std::size_t shown = 5;
  std::string text = std::to_string(count) + (count == 1 ? " image" : " images") + " can't be decoded: ";
  for (std::size_t i = 0; i < std::min(shown, all.size()); ++i)
    text += (i == 0 ? "" : ", ") + shards.name_of(all[i]);
  if (all.size() > shown) text += ", ...";
  // Every rank has the same list, so all throw or none.
  if (count > most) throw DataError(text + "; more than --max-bad-images " + std::to_string(most));
  context.reporter.warning(text + "; passed over (--max-bad-images " + std::to_string(most) + ")");
  return count;
}

std::vector<std::string> image_names(const ShardSet& shards,
                                     const std::vector<std::vector<std::int64_t>>& local) {
  std::vector<std::string> names;
  for (const auto& batch : local) {
    for (const std::int64_t index : batch) names.push_back(shards.name_of(index));
  }
  return names;
}

std::vector<at::Tensor> load_inputs(const ShardSet& shards, const Preprocessing& preprocessing,
                                    const std::vector<std::vector<std::int64_t>>& local, int threads,
                                    const JobContext& context) {
  std::vector<at::Tensor> inputs;
  context.communicator.guarded("decoding the images", [&] {
    BatchLoader loader(shards, preprocessing, local, threads);
    Batch batch;
    while (loader.next(batch)) inputs.push_back(to_tensor(std::move(batch)));
  });
  agree_on_bad_images(shards, context);
  return inputs;
}

}  // namespace bitfall
