#pragma once
/// Products of float32 matrices on a device: cuBLAS, without TF32, the same bits for the same call on the
/// same kind of device. tests/emulation has plain loops. Matrices are row-major.
#include <cstdint>
#include <memory>

#include "cuda/device.hpp"

namespace bitfall::cuda {

class MatrixProducts {
 public:
  /// cuBLAS is loaded now, not when the program starts: linked, it costs every process on a CPU 0.35 s and
  /// 217 MB (measured). Throws ClusterError where it can't be.
  explicit MatrixProducts(const Device& device);
  ~MatrixProducts();
  MatrixProducts(const MatrixProducts&) = delete;
  MatrixProducts& operator=(const MatrixProducts&) = delete;

  /// The lower triangle, at least, of out [columns][columns] = X^T X, X [count][columns]. columns^2 count
  /// operations.
  void square(const float* x, std::int64_t count, std::int64_t columns, float* out) const;
  /// out [rows][columns] = Y X, Y [rows][count], X [count][columns].
  void product(const float* y, const float* x, std::int64_t rows, std::int64_t count, std::int64_t columns,
               float* out) const;

 private:
  struct Library;
  const Device& device_;
  std::unique_ptr<Library> library_;
};

}  // namespace bitfall::cuda
