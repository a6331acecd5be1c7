#pragma once
/// A fast E-step with the codes of the plain one (estep.hpp). A point's old codeword gives a score to beat;
/// scores are bounded from below in 8-bit integer products, sixteen at once, and only groups of codewords in
/// which one may beat it are scored as the plain E-step does.
#include <cstdint>
#include <span>
#include <vector>

#include "bitfall/metric.hpp"
#include "quantization/estep.hpp"
#include "quantization/kmeans_blocks.hpp"
#include "quantization/point_order.hpp"

namespace bitfall {

/// Codewords of one group: it is open for a point when one of them may win.
constexpr std::int64_t codeword_group = 16;

/// What sixteen vectors, rounded to integers, have become.
struct RoundedTile {
  alignas(64) float norms2[tile_points];      ///< squared norms of the integers
  alignas(64) float distances2[tile_points];  ///< squared distances from what was rounded
  alignas(64) std::int32_t sums[tile_points];
};
/// `tile` has d rows of 16 values, each multiplied by `scale` and rounded; `words` gets pairs of them as
/// bytes, 128 more than they are, in (d + 1) / 2 rows of 16. What is rounded lies in [-128, 127].
[[nodiscard]] RoundedTile round_tile(const float* tile, std::int64_t d, float scale, std::uint16_t* words);

/// Points in bytes. v^ = round(s v), s being one scale for the 64 points of a group: |v^_j| <= 127 and s |v|
/// <= byte_norm of points. Made once for all E-steps of a layer.
class FilterPoints {
 public:
  static constexpr float largest_norm = 140;  ///< of s v; see FilterTable
  FilterPoints(const TiledBlocks& points, int threads);

  struct Group {
    float scale = 1;     ///< s
    float distance = 0;  ///< >= |v^ - s v|
    float norm = 0;      ///< >= s |v|
  };
  [[nodiscard]] const std::uint16_t* words_of(std::int64_t group) const {
    return words.data() + group * group_points * pairs;
  }

  std::int64_t pairs = 0;  ///< (d + 1) / 2
  AlignedVector<std::uint16_t>
      words;  ///< tiles x pairs x 16 points: v^_2p + 128 and, in the upper byte, v^_(2p+1) + 128
  std::vector<Group> groups;
  AlignedVector<float> norms2;  ///< |v|^2, of all points
};

/// A codebook in bytes. Codewords are put in the order of their norms and cut into groups; c^ = round(S c), S
/// being a group's scale: |c^_2p| + |c^_(2p+1)| <= 128, so that a sum of two products with 8-bit integers
/// fits 16 bits, and S |c| <= largest_norm. With u = s S the integer
///   A_c = floor(min(u h_c, largest_offset)) - 1 - <v^, c^>
/// fits 16 bits and is at most u (h_c - <v, c>) + E, E = |v^ - s v| |c^| + s |v| |c^ - S c|.
class FilterTable {
 public:
  static constexpr float largest_norm = 108;
  /// (largest norms + the rounding of 18 coordinates) multiplied, (140 + 2.2) (108 + 2.2) = 15,670, leave so
  /// much of 2^15.
  static constexpr float largest_offset = 16384;

  FilterTable(std::int64_t k, std::int64_t d);
  /// h_c may be anything that is not negative (not only |c|^2 / 2).
  void set(const CodewordTable& table);
  /// `codebook` (k x d) as columns in the order of the last set, for set_whitened.
  [[nodiscard]] AlignedVector<float> columns_of(std::span<const float> codebook) const;
  /// Fills `table` with the codebook of columns_of, whitened, and sets this for it, without a new order: some
  /// codewords' norms may be out of it. For many metrics of one codebook, at a fourth of the time of filling
  /// a table and setting this one after the other (blockwise_bench).
  void set_whitened(std::span<const float> codebook_columns, const Whitening& whitening,
                    std::span<const float> penalties, CodewordTable& table);
  [[nodiscard]] static bool has_kernel(std::int64_t d);
  /// Whether the E-step of these sizes gains from the filter.
  [[nodiscard]] static bool pays(std::int64_t k, std::int64_t d);

  [[nodiscard]] std::int64_t groups() const { return static_cast<std::int64_t>(scales.size()); }

  std::int64_t d = 0;
  std::int64_t pairs = 0;            ///< (d + 1) / 2
  std::vector<std::int32_t> order;   ///< place -> codeword
  std::vector<std::int32_t> places;  ///< codeword -> place
  AlignedVector<float>
      columns;  ///< groups x (d + 1) x 16: h_c, then the coordinates; never chosen where padding
  AlignedVector<std::int32_t> words;     ///< groups x pairs x 16: c^_2p and c^_(2p+1) as bytes, twice
  AlignedVector<float> half_norms;       ///< h_c by place
  AlignedVector<std::int32_t> shifts;    ///< 128 sum_j c^_j by place: points are stored as v^ + 128
  std::vector<float> scales;             ///< S of each group
  std::vector<float> norms;              ///< >= |c^| in each group
  std::vector<float> distances;          ///< >= |c^ - S c| in each group
  std::vector<float> shortest, longest;  ///< bounds of |c| in each group; both ascend

 private:
  void bound_groups(const CodewordTable& table);
  void round_group(std::int64_t group);
  AlignedVector<std::uint16_t> bytes_;  ///< of one group
  AlignedVector<float> place_norms2_;
};

/// What a thread keeps between calls.
struct FilterScratch {
  AlignedVector<std::int32_t> offsets;  ///< of a group of points: A_c without its product, by place
  AlignedVector<std::int16_t> limits;   ///< group by group, of some points: no A_c above can win
  AlignedVector<std::int16_t> closed;   ///< codewords that can't win
  AlignedVector<std::uint16_t> open;    ///< bit g % 16 of word (g / 16, point): group g is open
  std::int64_t opened = 0;  ///< groups of codewords that were scored exactly for a point, since construction
};

/// What the filter works on, made once for all E-steps of a layer.
struct OrderedPoints : PointOrder {
  OrderedPoints(const TiledBlocks& given, int threads)
      : PointOrder(order_by_norm(given)), image(points, threads) {}
  FilterPoints image;
};

/// As assign_groups for the groups [first, first + count) of the points, with the same codes and errors.
/// `codes` holds a codeword for each point: the better it is (that of the E-step before), the less remains to
/// be done. Work for a point and a codeword: d multiply-adds of bytes, in vectors of 32, and the comparison.
void assign_groups_filtered(const OrderedPoints& ordered, std::int64_t first, std::int64_t count,
                            const CodewordTable& table, const FilterTable& filter, FilterScratch& scratch,
                            std::int32_t* codes, float* errors);

/// The Highway targets of the filter, as estep_targets().
[[nodiscard]] std::vector<std::int64_t> filter_targets();

}  // namespace bitfall
