#pragma once
/// The E-step: the nearest codeword of every point. SIMD for the machine it runs on, the same bits on all.
#include <cstdint>
#include <span>
#include <vector>

#include "quantization/kmeans_blocks.hpp"

namespace bitfall {

/// A whitened codebook laid out for the kernel. k is padded to whole groups of eight by codewords that never
/// win.
class CodewordTable {
 public:
  CodewordTable(std::int64_t k, std::int64_t d);
  [[nodiscard]] float half_norm(std::int64_t c) const { return rows[static_cast<std::size_t>(c * (d + 1))]; }
  [[nodiscard]] std::span<const float> codeword(std::int64_t c) const {
    return std::span<const float>(rows).subspan(static_cast<std::size_t>(c * (d + 1) + 1),
                                                static_cast<std::size_t>(d));
  }
  /// `whitened` is k x d. h_c = |c|^2 / 2, the norm as a chain of fused multiply-adds in index order, plus
  /// the codeword's penalty if there are some (a code's price, see code_rate.hpp).
  void set(std::span<const float> whitened, std::span<const float> penalties = {});

  /// The same from whitened codewords as whiten_columns leaves them, with their norms; place i holds codeword
  /// order[i]. Writes the h_c into the columns' first rows, FLT_MAX behind the last codeword.
  void set_columns(std::span<float> columns, std::span<const float> place_norms2,
                   std::span<const std::int32_t> order, std::span<const float> penalties);

  std::int64_t k = 0;
  std::int64_t padded_k = 0;
  std::int64_t d = 0;
  double largest_norm2 = 0;  ///< largest squared norm of a codeword
  bool is_distance = true;   ///< h_c is |c|^2 / 2, so that bounds may be used
  /// Floats after the last row, so that rows may be read four at a time.
  static constexpr std::int64_t row_margin = 3;
  AlignedVector<float> rows;  ///< padded_k x (d + 1): h_c, c_0, ..., c_(d-1); then the margin
  std::vector<float> norms2;  ///< |c|^2, k of them
};

/// For each point v of `groups` groups: the code
///   argmin_c h_c - <v, c>,  the score being fma(-v_(d-1), c_(d-1), ... fma(-v_0, c_0, h_c)),
/// ties to the lowest index, and the squared error fma(e_(d-1), e_(d-1), ... fma(e_0, e_0, 0)), e = v - c.
/// Work: 64 k d fused multiply-adds a group; bytes: 256 d + 512 a group, the table stays in the cache.
/// Measured at 65 to 80 % of a Zen 5 core's multiply-adds (tests/bench/kmeans_bench.cpp).
void assign_groups(const float* points, std::int64_t groups, const CodewordTable& table, std::int32_t* codes,
                   float* errors);

/// norms2_r = |row r|^2 as a chain of fused multiply-adds in index order; `rows` has d values each.
void squared_norms(std::span<const float> rows, std::int64_t d, std::span<float> norms2);

/// Sixteen codewords side by side, group by group: coordinate j of codeword i of group g is [(g d + j) 16 +
/// i]. Whitens them as Whitening::apply does (`factor` as there, empty: a copy), the same bits, and leaves
/// room for a row of 16 before each group's: coordinate j lies at out[(g (d + 1) + 1 + j) 16 + i]. norms2 as
/// squared_norms.
void whiten_columns(std::span<const float> factor, std::int64_t d, std::span<const float> columns,
                    std::span<float> out, std::span<float> norms2);

/// The Highway targets compiled in that this machine can run, best first (for tests).
[[nodiscard]] std::vector<std::int64_t> estep_targets();

}  // namespace bitfall
