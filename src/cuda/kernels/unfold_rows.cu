#include "cuda/kernels/unfold_rows.hpp"

#include "cuda/kernels/window_value.hpp"
#include "device_code.hpp"

namespace bitfall::cuda {
namespace {

constexpr int block_threads = 256;
// register budget: unfold_rows_kernel<> 40

/// A block of threads for each row: neighbouring threads write neighbouring columns.
__global__ void __launch_bounds__(block_threads) unfold_rows_kernel(UnfoldArguments a) {
  const std::int64_t row = blockIdx.x;
  const RowAddress address = a.addresses[row];
  const WindowStart start = window_start(a.window, static_cast<int>(address.position));
  const float* group =
      a.window.values + address.image * a.window.image_stride + address.group * a.window.group_stride;
  const int columns = static_cast<int>(a.window.columns());
  float* out = a.rows + row * columns;
  for (int column = static_cast<int>(threadIdx.x); column < columns; column += block_threads)
    out[column] = window_value(a.window, group, start, column);
}

}  // namespace

void unfold_rows(const UnfoldArguments& a, const Device& device) {
  if (a.count == 0) return;
  launch(device, "kernel unfold_rows", LaunchShape{a.count, 1, block_threads, 0}, unfold_rows_kernel, a);
}

}  // namespace bitfall::cuda
