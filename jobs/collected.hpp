#pragma once
/// What `collect` leaves for `quantize`: second moments of every layer's inputs, in a sealed file of the
/// archive's format.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bitfall/archive.hpp"
#include "bitfall/layer.hpp"
#include "bitfall/plan.hpp"
#include "bitfall/quantizer.hpp"
#include "job.hpp"

namespace bitfall {

/// The width of the diagonal blocks that are kept of a layer's Gram matrix: every d that divides it can be
/// quantized later. 4 kernels of a spatial convolution (d 9, 18 and 36 of a 3x3), 16 channels otherwise, less
/// where the layer's columns are no multiple.
[[nodiscard]] std::int64_t gram_width(const Layer& layer);

struct Collected {
  nlohmann::json description;     ///< model (SHA-256), data, images, preprocess, seed
  std::vector<KeptTensor> grams;  ///< by layer: float64 [D / width, width, width]
};

/// Rank 0 writes (collective).
void write_collected(const Collected& collected, const std::string& path, const JobContext& context);
/// Rank 0 reads (collective). Throws DataError when it was collected from another network.
[[nodiscard]] Collected read_collected(const std::string& path, const std::string& model_sha256,
                                       const JobContext& context);

/// What the planned metric needs. Throws DataError naming the layer when it was not collected or d does not
/// divide the width, UsageError for the metric full: whole Gram matrices are not collected.
[[nodiscard]] LayerMoments moments_of(const Collected& collected, const LayerPlan& planned);

}  // namespace bitfall
