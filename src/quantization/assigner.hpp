#pragma once
/// Chooses and runs the E-step that is fastest for a layer's sizes. All give the codes and errors of
/// assign_groups, bit for bit.
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "quantization/box_order.hpp"
#include "quantization/estep.hpp"
#include "quantization/estep_bounds.hpp"
#include "quantization/estep_filter.hpp"
#include "quantization/faster_way.hpp"
#include "quantization/kmeans_blocks.hpp"

namespace bitfall {

class Assigner {
 public:
  /// `accelerate` false: always assign_groups.
  Assigner(const TiledBlocks& points, std::int64_t k, int workers, bool accelerate);

  /// The points in the order in which this class wants them; codes and errors have the same.
  [[nodiscard]] const TiledBlocks& points() const { return boxes_ ? boxes_->points : given_; }
  /// The place of point `i` of points() among those given.
  [[nodiscard]] std::int64_t given_place(std::int64_t i) const {
    return boxes_ ? boxes_->order[static_cast<std::size_t>(i)] : i;
  }
  [[nodiscard]] bool reorders() const { return boxes_ != nullptr; }

  /// A new codebook. Not to be called beside assign.
  void prepare(const CodewordTable& table);
  /// Groups [first, first + count), with the codebook of the last prepare. `codes` holds those of the
  /// E-step before (of whole groups, 0 for padding) and gets the new ones. Workers work side by side on
  /// different groups.
  void assign(std::int64_t first, std::int64_t count, int worker, const CodewordTable& table,
              std::int32_t* codes, float* errors);

 private:
  struct Worker {
    FilterScratch filter;
    FasterWay with_filter;  ///< 1: where the filter needn't keep bounds, is it the faster way
    BoxScratch box;
    std::vector<std::int64_t> open;  ///< points that their bounds leave open
    AlignedVector<float> points;     ///< those, packed into groups
    std::vector<std::int32_t> codes;
    std::vector<float> errors, others, lower;
    std::int64_t left_open = 0;  ///< points that their bounds left open in this E-step
  };
  void choose_bounds(const CodewordTable& table);
  void search_all(std::int64_t first, std::int64_t count, Worker& worker, const CodewordTable& table,
                  std::int32_t* codes, float* errors);
  void search_faster_way(const float* groups, std::int64_t count, Worker& worker, const CodewordTable& table,
                         std::int32_t* codes, float* errors);
  void search_open(std::int64_t first, Worker& worker, const CodewordTable& table, std::int32_t* codes,
                   float* errors);

  const TiledBlocks& given_;
  std::unique_ptr<BoxOrder> boxes_;
  std::unique_ptr<FilterTable> filter_;
  std::vector<Worker> workers_;
  // Bounds pay when codewords move little. So from time to time an E-step finds bounds, and if they leave
  // too many points open in the next one, they are given up for a while.
  bool may_keep_bounds_ = false;
  bool keeps_bounds_ = false;    ///< the present E-step leaves bounds behind
  bool checks_bounds_ = false;   ///< those of the E-step before hold
  int plain_rounds_ = 0;         ///< E-steps until bounds are tried (again)
  AlignedVector<float> before_;  ///< rows of the codebook before
  CodewordMoves moves_;
  std::vector<float> lower_;  ///< of each point's distance to all codewords but its own
};

}  // namespace bitfall
