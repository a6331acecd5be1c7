#pragma once
/// Streams of channels that are found to be the same, and where they lie along the axes of tensors.
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "bitfall/channels.hpp"

namespace bitfall {

/// What is known of a computed tensor. Its channel axis is 1.
struct ChannelLayout {
  std::int64_t rank = 0;         ///< number of axes; 0: unknown
  std::vector<ChannelRun> runs;  ///< along axis 1; empty: nothing there can move
  bool unit_space = false;       ///< every axis after 1 has size one
  /// Each run is longer than it says by one factor, the number of positions that a flatten has met.
  bool flattened = false;
  [[nodiscard]] bool known() const { return rank >= 2; }
};

/// Streams as sets that are joined (union-find), and the axes of named tensors that follow them.
class ChannelLayouts {
 public:
  [[nodiscard]] std::size_t new_stream(std::int64_t channels);
  /// Fixes the order of all streams of the layout.
  void fix(const ChannelLayout& layout, const std::string& obstacle);
  /// Two layouts that must have the same order from now on; fixes both where that can't be expressed.
  void join(const ChannelLayout& a, const ChannelLayout& b, const std::string& where);
  [[nodiscard]] std::int64_t entries(const ChannelLayout& layout) const;

  /// The layout written out for an axis of `size` entries (a flatten's factor included); false when it does
  /// not fit.
  [[nodiscard]] bool resolve(const ChannelLayout& layout, std::int64_t size, ChannelLayout& resolved) const;
  /// A tensor's axes follow these layouts, one for each axis (an unknown layout: the axis can't move).
  /// Another binding of the same tensor must agree with it.
  void bind(const std::string& tensor, const std::vector<ChannelLayout>& axes, const std::string& where);
  /// Something reads this tensor in a way that is not understood.
  void pin(const std::string& tensor, const std::string& obstacle) { pinned_.emplace(tensor, obstacle); }

  /// Fixes what pinned tensors touch and lists everything.
  [[nodiscard]] ChannelGraph finish();

 private:
  [[nodiscard]] std::size_t root(std::size_t stream) const;
  void fix_stream(std::size_t stream, const std::string& obstacle);
  void join_streams(std::size_t a, std::size_t b, const std::string& where);

  std::vector<ChannelStream> streams_;
  std::vector<std::size_t> parent_;
  std::map<std::pair<std::string, std::int64_t>, ChannelLayout> uses_;  ///< by tensor and axis
  std::map<std::string, std::string> pinned_;
};

}  // namespace bitfall
