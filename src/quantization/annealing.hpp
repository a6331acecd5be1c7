#pragma once
/// Noise on codebooks that dies away: the stochastic relaxation of k-means (Zeger, Vaisey and Gersho, IEEE
/// Trans. Signal Processing 40(2), 1992).
#include <cstdint>
#include <span>
#include <vector>

namespace bitfall {

/// Before the update of iteration i = 1 ... n the blocks get normal noise of standard deviation
/// sigma (1 - i/n)^0.5 s_a in coordinate a, s_a being the blocks' own standard deviation (Martinez et al.,
/// CVPR 2021, section 3.3). Blocks enter the update through means of N members, and the mean of N such noises
/// is normal with 1 / N of the variance: so k d numbers are drawn instead of n d. The last update has none.
class Annealing {
 public:
  /// Nothing happens with sigma = 0.
  Annealing(double sigma, std::int64_t iterations, std::span<const float> blocks, std::int64_t d,
            std::uint64_t seed, std::uint64_t stream);

  [[nodiscard]] bool is_on() const { return sigma_ > 0; }
  /// Disturbs the updated codebook (k x d) of iteration `done`, counted from 1. Codewords without members
  /// stay. The noise is a function of (seed, stream, done, place in the codebook).
  void disturb(std::int64_t done, std::span<const std::int64_t> members, std::span<float> codebook) const;

 private:
  double sigma_;
  std::int64_t iterations_;
  std::uint64_t seed_, stream_;
  std::vector<double> spread_;  ///< s_a
};

}  // namespace bitfall
