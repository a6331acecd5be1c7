#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/index_select.h>

#include "bitfall/channels.hpp"
#include "bitfall/errors.hpp"
#include "bitfall/network.hpp"

namespace bitfall {

std::vector<std::int64_t> entry_order(const ChannelGraph& graph, const std::vector<ChannelRun>& runs,
                                      const ChannelOrders& orders) {
  std::vector<std::int64_t> order;
  for (const ChannelRun& run : runs) {
    const auto first = static_cast<std::int64_t>(order.size());
    const std::vector<std::int64_t>& channels = orders.at(run.stream);
    for (std::int64_t i = 0; i < graph.streams.at(run.stream).channels; ++i) {
      const std::int64_t source = channels.empty() ? i : channels.at(static_cast<std::size_t>(i));
      for (std::int64_t e = 0; e < run.expansion; ++e) order.push_back(first + source * run.expansion + e);
    }
  }
  return order;
}

void permute_channels(Network& network, const ChannelGraph& graph, const ChannelOrders& orders) {
  BITFALL_ASSERT(orders.size() == graph.streams.size(), "orders of another network");
  for (std::size_t stream = 0; stream < orders.size(); ++stream) {
    BITFALL_ASSERT(orders[stream].empty() || graph.streams[stream].obstacle.empty(),
                   graph.streams[stream].obstacle);
  }
  for (const ChannelUse& use : graph.uses) {
    bool moves = false;
    for (const ChannelRun& run : use.runs) moves |= !orders.at(run.stream).empty();
    if (!moves) continue;
    std::vector<std::int64_t> order = entry_order(graph, use.runs, orders);
    const at::Tensor index = at::from_blob(order.data(), {static_cast<std::int64_t>(order.size())},
                                           at::TensorOptions().dtype(at::kLong));
    network.set_tensor(use.tensor, network.tensor(use.tensor).index_select(use.axis, index));
  }
}

}  // namespace bitfall
