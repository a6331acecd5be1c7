#include "cuda/cuda_array_work.hpp"

#include <limits>
#include <vector>

#include "bitfall/errors.hpp"
#include "cuda/kernels/block_moments.hpp"
#include "cuda/kernels/rounded_sums.hpp"
#include "cuda/kernels/trained_parts.hpp"
#include "cuda/kernels/unfold_rows.hpp"

namespace bitfall::cuda {
namespace {

/// The parts on the device, with the blocks of threads that each takes.
class PlacedParts {
 public:
  PlacedParts(std::span<const TrainedPart> parts, std::int64_t (*blocks_of)(const TrainedPart&),
              const Device& device)
      : first_blocks_(running_sum(parts, blocks_of)),
        parts_there_(device, parts),
        first_blocks_there_(device, std::span<const std::int64_t>(first_blocks_)) {}
  [[nodiscard]] TrainedPartsArguments arguments() const {
    return {parts_there_.data(), first_blocks_there_.data(), parts_there_.size()};
  }
  [[nodiscard]] std::int64_t blocks() const { return first_blocks_.back(); }

 private:
  static std::vector<std::int64_t> running_sum(std::span<const TrainedPart> parts,
                                               std::int64_t (*blocks_of)(const TrainedPart&)) {
    std::vector<std::int64_t> sums{0};
    for (const TrainedPart& part : parts) {
      BITFALL_ASSERT(part.weights <= std::numeric_limits<std::int32_t>::max(), "weights of a trained part");
      sums.push_back(sums.back() + blocks_of(part));
    }
    return sums;
  }

  std::vector<std::int64_t> first_blocks_;
  Buffer<TrainedPart> parts_there_;
  Buffer<std::int64_t> first_blocks_there_;
};

}  // namespace

CudaArrayWork::CudaArrayWork(int index, int rank)
    : device_(index, rank, StreamChoice::of_tensors), products_(device_) {}

void CudaArrayWork::unfold(const RowWindow& window, std::span<const RowAddress> addresses,
                           float* rows) const {
  const Buffer<RowAddress> there(device_, addresses);
  unfold_rows({window, there.data(), there.size(), rows}, device_);
}

void CudaArrayWork::block_moments(const RowWindow& window, std::int64_t images, std::int64_t groups,
                                  std::int64_t d, double* triangles) const {
  Buffer<double> partial(device_, images * groups * (window.columns() / d) * (d * (d + 1) / 2));
  cuda::block_moments({window, images, groups, d, partial.data(), triangles}, device_);
}

void CudaArrayWork::add_square(const float* x, std::int64_t count, std::int64_t columns, double factor,
                               float* product, std::int64_t* lower) const {
  products_.square(x, count, columns, product);
  add_rounded_lower(product, columns, factor, lower, device_);
}

void CudaArrayWork::add_product(const float* y, const float* x, std::int64_t rows, std::int64_t count,
                                std::int64_t columns, double factor, float* product,
                                std::int64_t* sums) const {
  products_.product(y, x, rows, count, columns, product);
  add_rounded(product, rows * columns, factor, sums, device_);
}

void CudaArrayWork::gather_gradients(std::span<const TrainedPart> parts, double* gradient) const {
  const PlacedParts placed(parts, gradient_blocks, device_);
  cuda::gather_gradients(placed.arguments(), placed.blocks(), gradient, device_);
}

void CudaArrayWork::write_weights(std::span<const TrainedPart> parts, const float* values) const {
  const PlacedParts placed(parts, weight_blocks, device_);
  cuda::write_weights(placed.arguments(), placed.blocks(), values, device_);
}

}  // namespace bitfall::cuda
