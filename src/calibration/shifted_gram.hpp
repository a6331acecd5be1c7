#pragma once
/// The whole Gram matrix of a convolution over all positions of its images, from products of shifted planes.
/// No LibTorch here.
#include <cstdint>
#include <span>
#include <vector>

#include "bitfall/exact_sum.hpp"
#include "calibration/unfold.hpp"

namespace bitfall {

/// With stride 1 the entry of (channel c, tap a) and (channel e, tap b) is
///   H = sum over q of x_c(q) x_e(q + b - a),  q the positions of the padded plane that tap a visits,
/// so pairs of taps with the same displacement b - a share all products but those at the borders. The padded
/// plane is cut where the set of visiting taps changes (for 3 x 3: corners, edges, interior); each part's
/// products are formed once for each displacement: 25 instead of 81 for 3 x 3, half of them by symmetry.
class ShiftedGram {
 public:
  static constexpr std::int64_t panel_channels = 16;
  /// Whether a layer's window has this form: stride and dilation 1, 2 to 9 taps, whole panels of channels.
  [[nodiscard]] static bool fits(const WindowShape& shape);

  /// Sums of products are rounded to `scale` every 2,048 positions or so.
  ShiftedGram(const WindowShape& shape, const FixedPoint& scale);

  /// Adds the windows at all output positions of `images` images (channels x plane each, one behind the
  /// other) of `shape`, which may have another height and width than the constructor's. Work: images *
  /// positions * channels^2 / 2 * displacements multiply-adds.
  void add(const float* data, std::int64_t images, const WindowShape& shape, int threads);
  /// The sums so far, for adding over ranks.
  [[nodiscard]] std::span<std::int64_t> sums() { return sums_; }
  /// The lower triangle: entry (row, column <= row) at row (row + 1) / 2 + column.
  [[nodiscard]] std::vector<double> lower_triangle() const;

 private:
  /// An interval of rows or columns of the padded plane, and the taps [first_tap, last_tap) that visit it.
  struct Part {
    std::int64_t begin, end, first_tap, last_tap;
  };
  struct Planes;
  static std::vector<Part> cut(std::int64_t outputs, std::int64_t taps, std::int64_t padding,
                               std::int64_t size);
  void add_pair(const Planes& planes, std::int64_t i, std::int64_t j, std::vector<float>& partial);
  void collect(const Planes& planes, const float* partial, std::int64_t first_channel, std::int64_t channels,
               std::int64_t* sums) const;

  std::int64_t channels_, kernel_[2], taps_;
  FixedPoint scale_;
  /// By pair of panels i >= j; within: channel of i, tap of i, tap of j, channel of j.
  std::vector<std::int64_t> sums_;
};

}  // namespace bitfall
