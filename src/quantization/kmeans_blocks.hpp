#pragma once
/// The blocks of a layer as k-means reads them: checked, scaled, whitened, sixteen points side by side.
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <vector>

#include "bitfall/metric.hpp"

namespace bitfall {

/// Points whose coordinates lie side by side: one vector of the widest machines.
constexpr std::int64_t tile_points = 16;
/// The unit in which ranks and threads share points.
constexpr std::int64_t group_points = 64;

/// How many of `threads` are worth waking for so many elementary steps (a step: one multiply-add or so in a
/// vector loop). Results never depend on it.
[[nodiscard]] int useful_threads(std::int64_t steps, int threads);

/// Allocates on cache-line borders, so that no vector straddles two lines.
template <class T>
struct CacheLineAllocator {
  using value_type = T;
  CacheLineAllocator() = default;
  template <class U>
  CacheLineAllocator(const CacheLineAllocator<U>&) {}
  T* allocate(std::size_t count) {
    return static_cast<T*>(::operator new (count * sizeof(T), std::align_val_t{64}));
  }
  void deallocate(T* pointer, std::size_t) { ::operator delete (pointer, std::align_val_t{64}); }
  template <class U>
  bool operator==(const CacheLineAllocator<U>&) const {
    return true;
  }
};
template <class T>
using AlignedVector = std::vector<T, CacheLineAllocator<T>>;

/// Power-of-two scale under which the largest magnitude lies in [1, 2): no square overflows or vanishes, and
/// no bit of a result changes. Zero blocks have exponent 0.
struct BlockScale {
  double largest = 0;  ///< largest magnitude of any value
  int exponent = 0;    ///< values are multiplied by 2^exponent
};
/// Throws DataError, naming the block, when a value is NaN or infinite.
[[nodiscard]] BlockScale measure_blocks(std::span<const float> blocks, std::int64_t d);

/// Each value times 2^exponent.
[[nodiscard]] std::vector<float> scale_blocks(std::span<const float> blocks, const BlockScale& scale);

/// What k-means runs on: all blocks of a layer, the same on every rank, and the way to whiten them.
struct KmeansInput {
  std::span<const float> blocks;  ///< n x d
  std::int64_t d = 0;
  const Whitening& whitening;
  BlockScale scale;

  [[nodiscard]] std::int64_t count() const { return static_cast<std::int64_t>(blocks.size()) / d; }
  [[nodiscard]] std::span<const float> block(std::int64_t index, std::int64_t number = 1) const {
    return blocks.subspan(static_cast<std::size_t>(index * d), static_cast<std::size_t>(number * d));
  }
  /// out = L^T (2^exponent v) for each of the rows.
  void whiten(std::span<const float> rows, std::span<float> out) const;
};

/// The whitened blocks [first, first + count) of an input: coordinate j of point i is
/// tiles[(i / 16 * d + j) * 16 + i % 16], padded with zeros to whole groups.
struct TiledBlocks {
  std::int64_t d = 0;
  std::int64_t first = 0;
  std::int64_t count = 0;  ///< points without the padding
  AlignedVector<float> tiles;
  double largest_norm2 = 0;  ///< largest squared norm of a point

  [[nodiscard]] std::int64_t groups() const { return (count + group_points - 1) / group_points; }
  [[nodiscard]] const float* group(std::int64_t index) const {
    return tiles.data() + index * group_points * d;
  }
};
[[nodiscard]] TiledBlocks tile_blocks(const KmeansInput& input, std::int64_t first, std::int64_t count,
                                      int threads);

/// Copies point `from` of groups in this layout to place `to` of other groups.
inline void copy_point(const float* points, std::int64_t from, std::int64_t d, float* out, std::int64_t to) {
  const float* source = points + from / tile_points * d * tile_points + from % tile_points;
  float* target = out + to / tile_points * d * tile_points + to % tile_points;
  for (std::int64_t j = 0; j < d; ++j) target[j * tile_points] = source[j * tile_points];
}

/// Equality of blocks by their bytes, -0 and 0 being the same.
class BlockIdentity {
 public:
  BlockIdentity(std::span<const float> blocks, std::int64_t d) : blocks_(blocks.data()), d_(d) {}
  /// As a hash functor and as an equality functor over block indices.
  std::size_t operator()(std::int64_t block) const;
  bool operator()(std::int64_t a, std::int64_t b) const;

 private:
  const float* blocks_;
  std::int64_t d_;
};

/// The number of distinct blocks, or `limit` as soon as so many have been seen.
[[nodiscard]] std::int64_t count_distinct(std::span<const float> blocks, std::int64_t d, std::int64_t limit);

}  // namespace bitfall
