#pragma once
#include "cuda/device.hpp"
#include "cuda/matrix_products.hpp"
#include "parallel/array_work.hpp"

namespace bitfall::cuda {

/// ArrayWork by our kernels and cuBLAS, on LibTorch's stream: what LibTorch has queued is there when they
/// run.
class CudaArrayWork final : public ArrayWork {
 public:
  CudaArrayWork(int index, int rank);

  void unfold(const RowWindow& window, std::span<const RowAddress> addresses, float* rows) const override;
  void block_moments(const RowWindow& window, std::int64_t images, std::int64_t groups, std::int64_t d,
                     double* triangles) const override;
  void add_square(const float* x, std::int64_t count, std::int64_t columns, double factor, float* product,
                  std::int64_t* lower) const override;
  void add_product(const float* y, const float* x, std::int64_t rows, std::int64_t count,
                   std::int64_t columns, double factor, float* product, std::int64_t* sums) const override;
  void gather_gradients(std::span<const TrainedPart> parts, double* gradient) const override;
  void write_weights(std::span<const TrainedPart> parts, const float* values) const override;

 private:
  Device device_;
  MatrixProducts products_;
};

}  // namespace bitfall::cuda
