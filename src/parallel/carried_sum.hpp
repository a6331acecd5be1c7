#pragma once
/// Exact sums of the same quantities again and again, with one all-reduce each time.
///
/// An exact sum needs a scale that all ranks know beforehand (exact_sum.hpp), and to agree on one costs an
/// all-reduce of its own. Gradients change slowly: here the scale of each segment comes from the sum before,
/// with room for values 2^16 times as large; 62 bits leave 36 - log2(addends) below the sum, a float has 24.
/// A value that outgrows its scale is counted in the same all-reduce, and then that one sum is formed again
/// with maxima agreed on.
#include <cstdint>
#include <span>
#include <vector>

#include "bitfall/communicator.hpp"

namespace bitfall {

class CarriedSum {
 public:
  /// `segments`: lengths of the parts that have a scale of their own, e.g. one codebook each.
  explicit CarriedSum(std::vector<std::int64_t> segments);

  /// Sums `rows` over all ranks (collective): each has size() values, `addends` is the number of rows of all
  /// ranks. `counts` are integers that travel along and are summed in place. Throws DataError when a value is
  /// NaN or infinite, on every rank.
  [[nodiscard]] std::vector<double> total(std::span<const std::vector<double>> rows, std::int64_t addends,
                                          std::span<std::int64_t> counts, const Communicator& communicator);

  [[nodiscard]] std::int64_t size() const { return size_; }
  /// Largest magnitude that each segment's next values may have; 0 at first. It is state: a run that
  /// goes on elsewhere needs it for the same bits.
  [[nodiscard]] const std::vector<double>& bounds() const { return bounds_; }
  void set_bounds(std::vector<double> bounds);
  [[nodiscard]] std::int64_t bytes() const { return bytes_; }      ///< reduced so far by this rank
  [[nodiscard]] std::int64_t repeats() const { return repeats_; }  ///< sums that had to be formed again

 private:
  [[nodiscard]] std::vector<std::int64_t> add(std::span<const std::vector<double>> rows,
                                              std::int64_t addends) const;
  void reduce(std::vector<std::int64_t>& sums, const Communicator& communicator);
  void agree_on_bounds(std::span<const std::vector<double>> rows, const Communicator& communicator);
  [[nodiscard]] std::vector<double> unscale(std::span<const std::int64_t> sums, std::int64_t addends);

  std::vector<std::int64_t> segments_;
  std::int64_t size_ = 0, bytes_ = 0, repeats_ = 0;
  std::vector<double> bounds_;
};

}  // namespace bitfall
