#pragma once
/// One sum per quantity out of one partial sum per micro-batch, the same bits
/// on any number of ranks.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "bitfall/communicator.hpp"

namespace bitfall {

/// Partial sums of `quantities` values for each micro-batch of this rank.
///
/// A partial sum depends on its micro-batch alone, and the list of
/// micro-batches does not depend on the number of ranks. So total() is exact
/// under any distribution: all partials are rounded to integers with one scale,
/// found by an all-reduce of their largest magnitude, and added as integers.
class PartialSums {
 public:
  PartialSums(std::size_t micro_batches, std::size_t quantities)
      : micro_batches_(micro_batches), quantities_(quantities), values_(micro_batches * quantities) {}

  /// The row of one micro-batch, zero at first. Different rows may be filled by
  /// different threads.
  [[nodiscard]] std::span<double> row(std::size_t micro_batch) {
    return std::span(values_).subspan(micro_batch * quantities_, quantities_);
  }
  [[nodiscard]] bool is_finite() const;
  /// Sums over the micro-batches of all ranks (collective). With `merged` = n >
  /// 1, every n-th quantity is added to the same result: quantities (i, i + r,
  /// i + 2r, ...) with r = quantities / n. All values must be finite.
  [[nodiscard]] std::vector<double> total(const Communicator& communicator, std::size_t merged = 1) const;

 private:
  std::size_t micro_batches_;
  std::size_t quantities_;
  std::vector<double> values_;
};

}  // namespace bitfall
