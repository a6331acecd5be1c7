#include "model/channel_layouts.hpp"

#include <algorithm>

namespace bitfall {

std::size_t ChannelLayouts::new_stream(std::int64_t channels) {
  parent_.push_back(streams_.size());
  streams_.push_back({channels, channels < 2 ? "it has one channel" : ""});
  return parent_.back();
}

std::size_t ChannelLayouts::root(std::size_t stream) const {
  while (parent_[stream] != stream) stream = parent_[stream];
  return stream;
}

void ChannelLayouts::fix_stream(std::size_t stream, const std::string& obstacle) {
  ChannelStream& found = streams_[root(stream)];
  if (found.obstacle.empty()) found.obstacle = obstacle;
}

void ChannelLayouts::fix(const ChannelLayout& layout, const std::string& obstacle) {
  for (const ChannelRun& run : layout.runs) fix_stream(run.stream, obstacle);
}

void ChannelLayouts::join_streams(std::size_t a, std::size_t b, const std::string& where) {
  a = root(a);
  b = root(b);
  if (a == b) return;
  if (streams_[a].channels != streams_[b].channels) {
    for (const std::size_t stream : {a, b}) fix_stream(stream, where + " joins channels of other numbers");
    return;
  }
  const std::size_t first = std::min(a, b), second = std::max(a, b);
  parent_[second] = first;
  fix_stream(first, streams_[second].obstacle);
}

void ChannelLayouts::join(const ChannelLayout& a, const ChannelLayout& b, const std::string& where) {
  bool alike = a.flattened == b.flattened && a.runs.size() == b.runs.size();
  for (std::size_t i = 0; alike && i < a.runs.size(); ++i) {
    alike = a.runs[i].expansion == b.runs[i].expansion &&
            streams_[root(a.runs[i].stream)].channels == streams_[root(b.runs[i].stream)].channels;
  }
  if (!alike) {
    for (const ChannelLayout* layout : {&a, &b})
      fix(*layout, where + " joins channels that are cut differently");
    return;
  }
  for (std::size_t i = 0; i < a.runs.size(); ++i) join_streams(a.runs[i].stream, b.runs[i].stream, where);
}

std::int64_t ChannelLayouts::entries(const ChannelLayout& layout) const {
  std::int64_t sum = 0;
  for (const ChannelRun& run : layout.runs) sum += streams_[root(run.stream)].channels * run.expansion;
  return sum;
}

bool ChannelLayouts::resolve(const ChannelLayout& layout, std::int64_t size, ChannelLayout& resolved) const {
  resolved = layout;
  resolved.flattened = false;
  if (layout.runs.empty()) return true;
  const std::int64_t listed = entries(layout);
  if (size == 0 || size % listed != 0 || (!layout.flattened && size != listed)) return false;
  for (ChannelRun& run : resolved.runs) run.expansion *= size / listed;
  return true;
}

void ChannelLayouts::bind(const std::string& tensor, const std::vector<ChannelLayout>& axes,
                          const std::string& where) {
  for (std::size_t axis = 0; axis < axes.size(); ++axis) {
    const auto [place, is_new] = uses_.try_emplace({tensor, static_cast<std::int64_t>(axis)}, axes[axis]);
    if (!is_new) join(place->second, axes[axis], where + ", which shares '" + tensor + "',");
  }
}

ChannelGraph ChannelLayouts::finish() {
  for (const auto& [key, layout] : uses_) {
    const auto pinned = pinned_.find(key.first);
    if (pinned != pinned_.end()) fix(layout, pinned->second);
  }
  ChannelGraph graph;
  std::map<std::size_t, std::size_t> index;  // by root
  for (std::size_t stream = 0; stream < streams_.size(); ++stream) {
    if (parent_[stream] != stream) continue;
    index[stream] = graph.streams.size();
    graph.streams.push_back(streams_[stream]);
  }
  for (const auto& [key, layout] : uses_) {
    if (layout.runs.empty()) continue;
    ChannelUse use{key.first, key.second, layout.runs};
    for (ChannelRun& run : use.runs) run.stream = index.at(root(run.stream));
    graph.uses.push_back(std::move(use));
  }
  return graph;
}

}  // namespace bitfall
