#pragma once
/// What codes cost once they are entropy-coded: entropy-constrained quantization (Chou, Lookabaugh and Gray,
/// "Entropy-constrained vector quantization", IEEE Trans. ASSP 37, 1989).
#include <cstdint>
#include <span>
#include <vector>

#include "quantization/kmeans_blocks.hpp"

namespace bitfall {

/// A block, the codeword it has, the best of the others, and by how much error + price * bits would grow.
struct Alternative {
  double loss = 0;
  std::int32_t code = 0;
  std::int32_t other = 0;
};

/// The best codeword other than the one a block has.
class AlternativeFinder {
 public:
  /// `codewords` is k x d, `half_norms` the constant term of each score (see CodewordTable); one that is at
  /// least `unavailable` can't be chosen.
  AlternativeFinder(std::span<const float> codewords, std::span<const float> half_norms);
  static constexpr float unavailable = 1e37f;

  /// For a point whose coordinates lie `stride` apart: argmin over c' other than `code` of
  /// h_c' - <v, c'>, ties to the lowest index, and twice the difference to the score of `code`. `other` is -1
  /// when there is none. k d multiply-adds.
  [[nodiscard]] Alternative find(const float* point, std::int64_t stride, std::int32_t code) const;

 private:
  std::int64_t k_, d_;
  std::vector<float> columns_;  ///< d x k, so that the loop over codewords is contiguous
  std::vector<float> half_norms_;
};

/// The alternatives of all `points` under a whitened codebook (k x d) and penalties on its half norms (empty:
/// none); losses in units of the objective, of which the scores' squared errors are `unit`.
[[nodiscard]] std::vector<Alternative> find_alternatives(const TiledBlocks& points,
                                                         std::span<const float> whitened,
                                                         std::span<const float> penalties, double unit,
                                                         std::span<const std::int32_t> codes, int threads);

/// The price list of a codebook. J = error + price (sum over blocks of the length of its code + size of the
/// codebook) is what k-means minimises: the E-step with the lengths of before, then the lengths, then the
/// M-step, none of which lets J grow.
class CodeRate {
 public:
  /// `bit_price`: what a bit costs, in units of the objective; 0: nothing, and all of this does nothing.
  /// `codeword_bits`: what each codeword in use costs beside the codes.
  CodeRate(std::int64_t k, double bit_price, double codeword_bits);

  [[nodiscard]] bool active() const { return price_ > 0; }
  [[nodiscard]] double bit_price() const { return price_; }
  /// Lengths for the next E-step, -log2(n_c / n). A codeword without members is dropped: nothing gets it ever
  /// again.
  void update(std::span<const std::int64_t> counts);
  void update(std::span<const std::int32_t> codes);  ///< of all blocks
  /// price * (sum_c n_c length_c + codeword_bits * codewords in use) with the counts given last.
  [[nodiscard]] double cost() const;
  /// Half the cost of each code, in units of `unit` objectives: what is added to the half norms of an E-step
  /// whose scores are error / (2 unit). Dropped codewords have FLT_MAX. Empty before the first update.
  [[nodiscard]] std::vector<float> penalties(double unit) const;
  /// `unit`, but not so small beside the price that penalties overflow (positions with dead inputs).
  [[nodiscard]] double safe_unit(double unit) const;

  /// Looking at all alternatives costs as much as some E-steps: every fourth iteration, and at the end.
  [[nodiscard]] bool is_time_to_drop(std::int64_t iteration, std::int64_t moved) const {
    return active() && (iteration % 4 == 3 || moved == 0);
  }
  /// Drops codewords without which J is smaller. Greedy, the most useless first, ties to the lowest index; a
  /// codeword that takes over members stays, so that all changes add up. `all` are the alternatives of all
  /// blocks, their losses being those of J with the lengths as they are. Returns how many were dropped.
  std::int64_t drop(std::span<const Alternative> all);
  [[nodiscard]] std::int64_t codewords_in_use() const;

 private:
  [[nodiscard]] double growth_without(std::span<const std::size_t> members,
                                      std::span<const Alternative> all) const;

  double price_, codeword_bits_;
  double code_bits_ = 0;  ///< of all codes, with the counts given last
  bool known_ = false;    ///< there were counts
  std::vector<std::int64_t> counts_;
  std::vector<double> lengths_;  ///< bits; infinite: dropped
};

/// Leaves out the codewords that no code uses: `codebook` and `codes` shrink together. Returns the new k.
std::int64_t compact(std::vector<std::uint16_t>& codebook, std::vector<std::uint16_t>& codes, std::int64_t d);

/// Order-0 entropy of the codes, in bits of all of them: what an ideal entropy coder needs.
[[nodiscard]] double entropy_bits(std::span<const std::uint16_t> codes);

}  // namespace bitfall
