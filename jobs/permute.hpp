#pragma once
/// Channels of a network in an order under which its blocks are easier to quantize.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bitfall/archive.hpp"
#include "bitfall/channels.hpp"
#include "bitfall/network.hpp"
#include "bitfall/plan.hpp"
#include "job.hpp"

namespace bitfall {

struct PermuteOptions {
  bool permute = false;
  std::int64_t proposals = 200;  ///< swaps that are tried, for each channel
};
void add_permute_options(CLI::App& job, PermuteOptions& options);

/// A layer that is cut into blocks of d, with k codewords.
struct PermutableLayer {
  std::string name, weight_name;
  std::int64_t d = 0, k = 0;
};
[[nodiscard]] std::vector<PermutableLayer> permutable_layers(const Plan& plan);

/// What was found for one network.
struct NetworkPermutation {
  ChannelGraph graph;
  ChannelOrders orders;
  /// What an archive's plan keeps of it: settings and a digest. The order itself follows from them and the
  /// network.
  nlohmann::json description;
};

/// Searches on the weights that the network has now (collective). Ranks and threads share the work.
[[nodiscard]] NetworkPermutation find_network_permutation(const Network& network,
                                                          const std::vector<PermutableLayer>& layers,
                                                          const PermuteOptions& options, std::uint64_t seed,
                                                          JobContext& context);

/// Puts the network's channels into the order (collective). The logits of one image of noise must stay what
/// they were up to rounding; where they don't, the channels go back, with a warning, and false is returned.
bool permute_network(Network& network, const NetworkPermutation& permutation,
                     const std::vector<std::int64_t>& image_shape, JobContext& context);

/// For --dry-run: the streams that can be permuted, and why the others can't.
[[nodiscard]] nlohmann::json channels_json(const ChannelGraph& graph);
[[nodiscard]] std::string channels_text(const ChannelGraph& graph);

/// A permutation that an archive was made with, found again for its uncompressed network (collective).
/// Nothing when it was made without. Throws DataError when the network is another one.
[[nodiscard]] std::optional<NetworkPermutation> repeat_permutation(const Archive& archive,
                                                                   const Network& teacher,
                                                                   JobContext& context);

}  // namespace bitfall
