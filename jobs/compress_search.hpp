#pragma once
/// The search of `compress` for a plan that fits a number of bytes.
#include <functional>

#include "compression.hpp"
#include "plan_search.hpp"

namespace bitfall {

/// What a search has found.
struct FoundPlan {
  SizeBudget budget;
  std::vector<QuantizedLayer> layers;  ///< as the search quantized them: about what will come out
};

/// One walk of the unquantized network measures every layer in every candidate way, with fewer iterations
/// than the compression will have; then the images run on from each layer to the end to see how much its
/// error matters.
class CompressSearch {
 public:
  CompressSearch(const CompressionParameters& parameters, const SizeTarget& target, std::int64_t target_bytes,
                 JobContext& context)
      : parameters_(parameters), target_(target), target_bytes_(target_bytes), context_(context) {}

  /// Collective; all ranks get the same budget. `size_of_file` is that of an archive with such layers.
  [[nodiscard]] FoundPlan run(Network& network, const Plan& plan, std::vector<at::Tensor> images,
                              const FileSize& size_of_file) const;

 private:
  [[nodiscard]] Measured measure(const Network& network, const Plan& plan,
                                 std::vector<at::Tensor> images) const;

  const CompressionParameters& parameters_;
  const SizeTarget& target_;
  std::int64_t target_bytes_;
  JobContext& context_;
};

}  // namespace bitfall
