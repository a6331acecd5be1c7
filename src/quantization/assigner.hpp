#pragma once
/// Chooses and runs the E-step that is fastest for a layer's sizes. All give the codes and errors of
/// assign_groups, bit for bit.
#include <cstdint>
#include <memory>
#include <vector>

#include "quantization/estep.hpp"
#include "quantization/estep_filter.hpp"
#include "quantization/kmeans_blocks.hpp"

namespace bitfall {

class Assigner {
 public:
  /// `accelerate` false: always assign_groups.
  Assigner(const TiledBlocks& points, std::int64_t k, int workers, bool accelerate);

  /// The points in the order in which this class wants them; codes and errors have the same.
  [[nodiscard]] const TiledBlocks& points() const { return fast_ ? fast_->ordered.points : given_; }
  /// The place of point `i` of points() among those given.
  [[nodiscard]] std::int64_t given_place(std::int64_t i) const {
    return fast_ ? fast_->ordered.order[static_cast<std::size_t>(i)] : i;
  }
  [[nodiscard]] bool reorders() const { return fast_ != nullptr; }

  /// A new codebook. Not to be called beside assign.
  void prepare(const CodewordTable& table);
  /// Groups [first, first + count), with the codebook of the last prepare. `codes` holds those of the
  /// E-step before (of whole groups, 0 for padding) and gets the new ones. Workers work side by side on
  /// different groups.
  void assign(std::int64_t first, std::int64_t count, int worker, const CodewordTable& table,
              std::int32_t* codes, float* errors);

 private:
  struct Fast {
    Fast(const TiledBlocks& given, std::int64_t k, int workers);
    OrderedPoints ordered;
    FilterTable table;
    std::vector<FilterScratch> scratch;  ///< of each worker
  };

  const TiledBlocks& given_;
  std::unique_ptr<Fast> fast_;
  int rounds_ = 0;  ///< calls of prepare: in the first E-step there are no codes to start from
};

}  // namespace bitfall
