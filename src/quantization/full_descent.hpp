#pragma once
/// Codes and codebook under the whole Gram matrix.
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "bitfall/communicator.hpp"
#include "bitfall/kmeans.hpp"
#include "bitfall/quantizer.hpp"
#include "quantization/code_rate.hpp"
#include "quantization/gram_product.hpp"
#include "quantization/problem.hpp"

namespace bitfall {

/// Minimises  sum_r w_r e_r^T H e_r,  e_r = w_r - what_r  the error of row r, over codes and codebook.
///
/// A rank holds a contiguous share of the rows with P = E H (rows x D), which changes with every code that
/// moves: so a sweep over the codes costs what moves, and rows need no communication. All members but sweep()
/// are collective; every rank has the same codebook.
class FullDescent {
 public:
  FullDescent(const Problem& problem, const PackedGram& gram);

  /// Starts from `codebook` (k x d) and the codes of all rows, r * m + j.
  void start(std::span<const float> codebook, std::span<const std::int32_t> codes);
  /// The least-squares codebook for the codes as they are, by at most `iterations` conjugate gradients.
  void fit_codebook(std::int64_t iterations);
  /// Replaces the codebook, e.g. by its rounded values.
  void set_codebook(std::span<const float> codebook);
  /// One pass of block coordinate descent over the codes of this rank's rows; returns how many moved.
  /// `penalties` (k, or none) are what CodeRate::penalties(error_unit()) gives: the price of each code.
  std::int64_t sweep(std::span<const float> penalties = {});

  [[nodiscard]] std::span<const float> codebook() const { return codebook_; }
  /// P must be fresh: after start, fit_codebook, set_codebook or sweep.
  [[nodiscard]] double objective() const;
  [[nodiscard]] std::vector<std::int32_t> all_codes() const;
  /// What twice a score of sweep() is in units of the objective.
  [[nodiscard]] double error_unit() const;
  /// The best other codeword of every block of all ranks, all other blocks staying as they are.
  [[nodiscard]] std::vector<Alternative> alternatives(std::span<const float> penalties) const;

 private:
  struct Scratch;
  void refresh();                                          ///< P = E H
  void replace_codebook(std::span<const float> codebook);  ///< P stays
  /// products = X H for local rows X that `fill` writes.
  void multiply(const std::function<void(std::int64_t row, float* out)>& fill,
                AlignedVector<float>& products) const;
  /// c^T H_jj c / 2 and the penalties, m x k
  [[nodiscard]] std::vector<float> half_norms(std::span<const float> penalties) const;
  void sweep_rows(std::int64_t group, std::span<const float> half_norms, Scratch& scratch,
                  std::int64_t& moved);
  [[nodiscard]] std::vector<double> gradient() const;
  [[nodiscard]] std::vector<double> apply_normal(std::span<const double> direction,
                                                 AlignedVector<float>& products) const;
  [[nodiscard]] std::vector<double> gather(std::span<const float> values, double bound) const;
  [[nodiscard]] std::vector<double> factor_diagonal_blocks() const;
  [[nodiscard]] std::int64_t local_rows() const { return share_.size(); }
  void decode_row(std::int64_t row, std::span<const float> codebook, float* out) const;

  std::int64_t d_, m_, k_ = 0;
  const PackedGram& gram_;
  std::span<const std::int64_t> row_weights_;  ///< of all rows
  int threads_;
  const Communicator& communicator_;
  Communicator::Range share_;        ///< of the rows
  std::int64_t rows_;                ///< of all ranks
  std::int64_t stride_;              ///< floats from one row to the next
  int exponent_;                     ///< weights and codebook are scaled by 2^exponent, see BlockScale
  AlignedVector<float> weights_;     ///< local rows x stride
  AlignedVector<float> products_;    ///< P, local rows x stride
  std::vector<float> diagonal_;      ///< H_jj, m x d x d
  std::vector<float> codebook_;      ///< unscaled
  std::vector<float> scaled_;        ///< codebook * 2^exponent
  std::vector<std::int32_t> codes_;  ///< local rows x m
};

}  // namespace bitfall
