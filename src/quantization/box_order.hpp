#pragma once
/// Points in the order of a kd-tree's leaves, so that the 64 points of a group lie close together, and the
/// codewords that can be nearest to any of them are few.
#include <cstdint>
#include <span>
#include <vector>

#include "quantization/estep.hpp"
#include "quantization/kmeans_blocks.hpp"

namespace bitfall {

/// TiledBlocks rearranged, and the box that holds each tile.
struct BoxOrder {
  TiledBlocks points;
  std::vector<std::int32_t> order;  ///< place in `points` -> place before
  std::vector<float> low, high;     ///< of each tile of 16: tiles x d
};

/// Median splits along the widest axis down to tiles of 16. Work: n log(n / 16).
[[nodiscard]] BoxOrder order_by_boxes(const TiledBlocks& points);

/// Boxes are small enough in few dimensions only: in eight, a million points are halved 16 times, twice an
/// axis.
constexpr std::int64_t box_dimension = 4;

/// Whether boxes save more than they cost.
[[nodiscard]] bool boxes_pay(std::int64_t count, std::int64_t k, std::int64_t d);

/// Buffers of one thread. Rows are h_c, then the coordinates: d + 1 rows of as many codewords.
struct BoxScratch {
  struct Level {
    AlignedVector<float> rows;
    std::vector<std::int32_t> codes;
  };
  static constexpr int levels = 4;  ///< boxes of 64, 16, 4 and 1 tiles
  AlignedVector<float> all, scores;
  std::vector<std::int32_t> places;
  Level level[levels];
  std::int64_t offered = 0;  ///< scores computed exactly, since construction
};

/// The codebook in the order in which prune_codewords reads it; before a round of assign_boxes.
void prepare_boxes(const CodewordTable& table, BoxScratch& scratch);

/// assign_groups for groups [first, first + count) of the boxes: a codeword c is left out where
///   (h_c - h_b) - <v, c - b> > rounding for all v of the box, b being the nearest to its middle:
/// first for the box of 64 tiles, then, among what is left, for those of 16, 4 and 1.
/// Only for tables in which h_c is |c|^2 / 2.
void assign_boxes(const BoxOrder& boxes, std::int64_t first, std::int64_t count, const CodewordTable& table,
                  BoxScratch& scratch, std::int32_t* codes, float* errors);

}  // namespace bitfall
