#pragma once
/// One of several ways to quantize for every layer: the least error that a number of bytes can have. After
/// Shoham and Gersho, "Efficient bit allocation for an arbitrary set of quantizers", IEEE Trans. ASSP 36,
/// 1988.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace bitfall {

/// A way to quantize a layer: what it costs and what it does.
struct RatePoint {
  std::int64_t bytes = 0;
  double error = 0;  ///< comparable between layers
};

/// The points that are best for some price of a byte, by ascending bytes: each step of the lower convex hull
/// saves less error a byte than the one before. The first is the smallest point of all, the last the one of
/// least error.
[[nodiscard]] std::vector<std::size_t> lower_hull(std::span<const RatePoint> points);

/// A point for every layer, their bytes together at most `budget`; nothing when the smallest are too many.
/// Steps of all hulls are taken in the order of what they save a byte (which minimises the sum of errors for
/// the bytes of any stage: the Lagrangian's solutions), those that do not fit are left out, and what remains
/// is spent where it helps most. Ties go to the first layer.
[[nodiscard]] std::optional<std::vector<std::size_t>> choose_points(
    std::span<const std::vector<RatePoint>> layers, std::int64_t budget);

/// The bytes of the smallest choice.
[[nodiscard]] std::int64_t least_bytes(std::span<const std::vector<RatePoint>> layers);

}  // namespace bitfall
