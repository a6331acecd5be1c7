#pragma once
/// Which channels of a network can change places, and what has to move with them.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace bitfall {

/// Channels that are the same ones wherever they appear: the outputs of one layer, or of all layers that feed
/// one residual sum. They can be put into any order as long as every use follows.
struct ChannelStream {
  std::int64_t channels = 0;
  std::string obstacle;  ///< why their order is fixed; empty when it is free
};

/// All channels of a stream side by side along an axis, each `expansion` entries long (more than one behind a
/// flatten or a depthwise convolution with a multiplier).
struct ChannelRun {
  std::size_t stream = 0;
  std::int64_t expansion = 1;
};

/// An axis of a parameter or buffer whose entries follow channels, run after run (several after a cat).
struct ChannelUse {
  std::string tensor;  ///< qualified name
  std::int64_t axis = 0;
  std::vector<ChannelRun> runs;
};

/// What find_channels() finds. Every use of a stream without an obstacle is listed.
struct ChannelGraph {
  std::vector<ChannelStream> streams;  ///< in the order of their first use
  std::vector<ChannelUse> uses;        ///< by tensor and axis; tied tensors under their first name
};

/// The new order of each stream's channels: entry i is the old place of the channel that comes to place i.
/// An empty one leaves the stream as it is.
using ChannelOrders = std::vector<std::vector<std::int64_t>>;

/// Where the entries of an axis come from when its streams take new orders: entry i of the result is the old
/// place of what comes to place i. `runs` of `graph`.
[[nodiscard]] std::vector<std::int64_t> entry_order(const ChannelGraph& graph,
                                                    const std::vector<ChannelRun>& runs,
                                                    const ChannelOrders& orders);

class Network;
/// Follows channels through the network's steps. An operator that is not understood fixes the order of all
/// channels that it touches, so what is free is safe to move.
[[nodiscard]] ChannelGraph find_channels(const Network& network);
/// Moves every parameter and buffer of the streams: the network computes what it computed before, up to the
/// rounding of sums in another order. Throws nothing of its own; orders of streams with an obstacle must be
/// empty.
void permute_channels(Network& network, const ChannelGraph& graph, const ChannelOrders& orders);

}  // namespace bitfall
