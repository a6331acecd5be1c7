#pragma once
/// A fast E-step with the codes of the plain one (estep.hpp): scores are first bounded in 16-bit integer
/// arithmetic, and only what the bounds leave open is computed as the plain E-step does.
#include <cstdint>
#include <vector>

#include "quantization/estep.hpp"
#include "quantization/kmeans_blocks.hpp"

namespace bitfall {

/// Codewords of one group: their scores are reduced to their minimum, and its index is found afterwards.
constexpr std::int64_t codeword_group = 16;

/// The integer image of a CodewordTable. With c^ = round(2^s c), |2^s c| < 2^15, and v^ = round(2^t v) for
/// the points of a group of 64, the score of the plain E-step times 2^(s+t) lies at most
///   e_c + e_v,  e_c = sum_j |c^_j| / 2 + rounding of the plain chain,  e_v = 2^t sum_j |v_j| / 2,
/// from h_c 2^(s+t) - <v^, c^>. A codeword's e_c is subtracted from its h_c, so that integers bound scores
/// from below. h_c may be anything (not only |c|^2 / 2).
class FilterTable {
 public:
  FilterTable(std::int64_t k, std::int64_t d);
  void set(const CodewordTable& table);
  /// Whether the E-step of these sizes gains from the filter.
  [[nodiscard]] static bool pays(std::int64_t k, std::int64_t d);

  [[nodiscard]] std::int64_t groups() const { return padded_k / codeword_group; }

  std::int64_t padded_k = 0, d = 0;
  std::int64_t pairs = 0;                  ///< 32-bit words of a codeword: (d + 1) / 2
  int exponent = 0;                        ///< s
  float largest_half_norm = 0;             ///< max |h_c|
  AlignedVector<std::int32_t> words;       ///< padded_k x pairs: -c^_2p and, in the upper half, -c^_(2p+1)
  AlignedVector<float> columns;            ///< groups x (d + 1) x 16: h_c, then the coordinates
  std::vector<float> half_norms;           ///< h_c
  std::vector<float> uncertainties;        ///< e_c
  std::vector<std::int64_t> never_chosen;  ///< padding, and codewords whose h_c is beyond any score
};

/// What a thread keeps between calls.
struct FilterScratch {
  int exponent = 1 << 20;               ///< s + t of `offsets`
  AlignedVector<std::int32_t> offsets;  ///< 2^(s+t) h_c - e_c, rounded down
  std::int64_t rechecked = 0;  ///< points for which all codewords were scored exactly, since construction
};

/// As assign_groups, with the same codes and errors. When `others` is not null it gets, for each point, a
/// lower bound of the score of every codeword but the chosen one (-infinity when none is known). The scratch
/// belongs to one table between two `set`s: `exponent` must be reset after a `set`.
/// Work: 32 k (d + 1) multiply-adds of 16-bit integers and the same number of additions a group, and 1,024 d
/// fused multiply-adds to find the codeword in its group.
void assign_groups_filtered(const float* points, std::int64_t groups, const CodewordTable& table,
                            const FilterTable& filter, FilterScratch& scratch, std::int32_t* codes,
                            float* errors, float* others);

/// The Highway targets of the filter, as estep_targets().
[[nodiscard]] std::vector<std::int64_t> filter_targets();

}  // namespace bitfall
