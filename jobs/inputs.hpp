#pragma once
/// How jobs get at networks, images and micro-batches.
#include <ATen/core/Tensor.h>

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "bitfall/archive.hpp"
#include "bitfall/images.hpp"
#include "bitfall/network.hpp"
#include "job.hpp"

namespace bitfall {

/// A network and where it came from.
struct LoadedNetwork {
  Network network;
  std::optional<Archive> archive;  ///< when the file was an archive
  std::int64_t file_bytes = 0;
  std::string file_sha256;  ///< hex
};

/// Loads TorchScript or an archive on every rank (collective; rank 0 alone reads the disk). `model`: the
/// TorchScript file of an archive's network, in place of the one that the archive carries; "" for that one.
/// `logits`: see Network::choose_logits; empty: as the archive says.
[[nodiscard]] LoadedNetwork load_network(const std::string& path, const Communicator& communicator,
                                         const std::string& model = "", const std::string& logits = "");
/// Adds --model, for `load_network`.
void add_model_option(CLI::App& job, std::string& model);
/// Adds --no-embedded-model, of jobs that write archives.
void add_no_model_option(CLI::App& job, bool& no_embedded_model);
/// Adds --logits.
void add_logits_option(CLI::App& job, std::string& part);

/// Options of jobs that read images.
struct DataOptions {
  std::string shards;  ///< glob
  std::string preprocess = "imagenet";
  std::string logits;  ///< --logits: which part of a tuple or dictionary they are
  std::int64_t micro_batch = 16;
  std::int64_t max_bad_images = 0;
};
void add_data_options(CLI::App& job, DataOptions& options);

/// Images of all ranks cut into the fixed list of micro-batches: it does not depend on the number of ranks.
[[nodiscard]] std::vector<std::vector<std::int64_t>> cut_micro_batches(
    const std::vector<std::int64_t>& samples, std::int64_t micro_batch);
/// This rank's share of the list (collective order: rank 0 has the first ones).
[[nodiscard]] std::vector<std::vector<std::int64_t>> local_micro_batches(
    const std::vector<std::vector<std::int64_t>>& all, const Communicator& communicator);

/// `count` of `available` samples, chosen by seed, ascending. All of them when count is 0 or more than there
/// are.
[[nodiscard]] std::vector<std::int64_t> choose_samples(std::int64_t available, std::int64_t count,
                                                       std::uint64_t seed);

/// Channels, height and width that no input of these samples exceeds: where images keep their sizes, the JPEG
/// headers of all are read (collective then). Samples that can't be read don't count.
[[nodiscard]] std::array<std::int64_t, 3> largest_input(const ShardSet& shards,
                                                        const Preprocessing& preprocessing,
                                                        const std::vector<std::int64_t>& samples,
                                                        const Communicator& communicator);

/// A tensor [N, C, H, W] with the batch's pixels (moved, not copied).
[[nodiscard]] at::Tensor to_tensor(Batch&& batch);

/// Up to `count` batches of the loader; none at its end.
[[nodiscard]] std::vector<Batch> next_batches(BatchLoader& loader, std::int64_t count);

/// Opens the shards on every rank; errors are agreed on (collective). An index file that can't be used is a
/// warning.
[[nodiscard]] ShardSet open_shards(const DataOptions& options, const JobContext& context);

/// Adds up what the ranks' loaders have passed over so far (collective): a warning that names the images;
/// DataError when all ranks together have more than --max-bad-images. Returns how many there are.
std::int64_t agree_on_bad_images(const ShardSet& shards, const JobContext& context);

/// "SHARD: KEY.jpg" of every image of these micro-batches.
[[nodiscard]] std::vector<std::string> image_names(const ShardSet& shards,
                                                   const std::vector<std::vector<std::int64_t>>& local);

/// Decodes this rank's micro-batches (collective: an error on one rank ends all).
[[nodiscard]] std::vector<at::Tensor> load_inputs(const ShardSet& shards, const Preprocessing& preprocessing,
                                                  const std::vector<std::vector<std::int64_t>>& local,
                                                  int threads, const JobContext& context);

}  // namespace bitfall
