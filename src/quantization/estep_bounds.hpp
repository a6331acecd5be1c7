#pragma once
/// Bounds from earlier iterations that prove, without looking at the other codewords, that a point keeps its
/// code (Hamerly, "Making k-means even faster", SDM 2010).
#include <cstdint>
#include <span>
#include <vector>

#include "quantization/estep.hpp"

namespace bitfall {

/// How far the codewords have moved since the bounds were last brought up to date. Only for tables in which
/// h_c is |c|^2 / 2.
struct CodewordMoves {
  float largest = 0, second = 0;   ///< the largest move, and that of all other codewords
  std::int32_t largest_code = -1;  ///< whose move `largest` is
  std::vector<float> nearest;      ///< for each codeword half the distance to its nearest neighbour
  float largest_norm2 = 0;         ///< of a codeword

  /// `before` and `after` have k x (d + 1) rows, as CodewordTable::rows. Work: k^2 d.
  void set(std::span<const float> before, const CodewordTable& after);
};

/// For each point of a group of 64 with code a: its squared error as assign_groups computes it, and `lower`,
/// a lower bound of its distance to all other codewords, brought up to date. Bit i of the result is set when
/// point i might have to change its code: when not
///   max(lower, nearest_a)^2 > |v - c_a|^2 + rounding of the plain scores.
[[nodiscard]] std::uint64_t check_bounds(const float* group, const CodewordTable& table,
                                         const CodewordMoves& moves, const std::int32_t* codes, float* errors,
                                         float* lower);

/// lower = the distance that belongs to `others`, the score that assign_groups_filtered returned.
void bounds_from_scores(const float* group, const CodewordTable& table, const float* others, float* lower);

}  // namespace bitfall
