// MatrixProducts by plain loops on the memory of the host.
#include "cuda/matrix_products.hpp"

#include "emulation/grid.hpp"

namespace bitfall::cuda {

struct MatrixProducts::Library {};

MatrixProducts::MatrixProducts(const Device& device) : device_(device) {}
MatrixProducts::~MatrixProducts() = default;

void MatrixProducts::square(const float* x, std::int64_t count, std::int64_t columns, float* out) const {
  device_.check(emulation::call_status("cublasSsyrk", device_.rank()), "cublasSsyrk");
  for (std::int64_t a = 0; a < columns; ++a)
    for (std::int64_t b = 0; b <= a; ++b) {
      float sum = 0;
      for (std::int64_t row = 0; row < count; ++row) sum += x[row * columns + a] * x[row * columns + b];
      out[a * columns + b] = sum;
    }
}

void MatrixProducts::product(const float* y, const float* x, std::int64_t rows, std::int64_t count,
                             std::int64_t columns, float* out) const {
  device_.check(emulation::call_status("cublasSgemm", device_.rank()), "cublasSgemm");
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::int64_t column = 0; column < columns; ++column) {
      float sum = 0;
      for (std::int64_t i = 0; i < count; ++i) sum += y[row * count + i] * x[i * columns + column];
      out[row * columns + column] = sum;
    }
}

}  // namespace bitfall::cuda
