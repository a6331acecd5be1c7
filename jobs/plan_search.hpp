#pragma once
/// The search for a plan that fits a number of bytes: every layer is quantized in several ways, and the best
/// combination is chosen (src/quantization/rate_distortion.hpp).
#include <functional>
#include <span>
#include <vector>

#include "bitfall/archive.hpp"
#include "bitfall/network.hpp"
#include "cluster_layer.hpp"
#include "job.hpp"
#include "kept.hpp"
#include "size_budget.hpp"
#include "size_target.hpp"

namespace bitfall {

/// Bytes of a layer in an archive: its codes, its codebook and the history of its iterations.
[[nodiscard]] std::int64_t stored_bytes(const QuantizedLayer& layer);

/// A way to quantize a layer and what came of it.
struct MeasuredPlan {
  LayerPlan plan;
  QuantizedLayer layer;
  double relative_error = 0;
  std::int64_t bytes = 0;
};

/// Quantizes layer `index` of the plan in every way that candidate_plans names, on the inputs that `moments`
/// describes, and returns those on the lower convex hull of bytes and error, the smallest first. The ranks of
/// `communicator` share the work; the outcome does not depend on them.
[[nodiscard]] std::vector<MeasuredPlan> measure_layer(
    const Network& network, const Plan& plan, std::size_t index, const std::vector<PlanOverride>& overrides,
    const std::function<LayerMoments(const LayerPlan&)>& moments, const ClusterParameters& parameters,
    const Communicator& communicator);

/// What is measured of all layers, and how much each counts.
struct Measured {
  std::vector<std::size_t> indices;               ///< of the plan's layers
  std::vector<std::vector<MeasuredPlan>> layers;  ///< by place in `indices`
  std::vector<double> weights;                    ///< of relative errors; as many as layers
  [[nodiscard]] std::vector<SearchedLayer> searched() const;
  [[nodiscard]] std::vector<QuantizedLayer> chosen(const SizeBudget& budget) const;
};

/// The bytes of an archive with these layers, everything in it.
using FileSize = std::function<std::int64_t(std::vector<QuantizedLayer>)>;

/// How far the file that comes out may be from what the search has seen.
struct Reserve {
  double part = 0;  ///< of the target
  std::int64_t bytes = 0;
  [[nodiscard]] std::int64_t usable(std::int64_t target_bytes) const;
  /// The smallest target of which `file_bytes` are usable.
  [[nodiscard]] std::int64_t target_for(std::int64_t file_bytes) const;
};

/// The budget for codes and codebooks with which the whole file, as `size_of_file` builds it from layers, has
/// at most `target_bytes` less the reserve. Throws UsageError naming the smallest possible target when there
/// is none.
[[nodiscard]] SizeBudget fit_file(const Measured& measured, const SizeTarget& target,
                                  std::int64_t target_bytes, const Reserve& reserve,
                                  const FileSize& size_of_file);

/// Puts the choices of the budget into the plan.
void apply(const SizeBudget& budget, Plan& plan);

/// Makes the plan say what the layers have become: where bits have a price, k is known only afterwards.
/// Prices that a search has chosen are not kept: they are not the user's word.
void settle_plan(Plan& plan, const std::vector<QuantizedLayer>& layers, bool was_searched,
                 std::span<const TensorInfo> tensors);

}  // namespace bitfall
