#pragma once
/// Unfolded (im2col) rows on the device.
#include <cstdint>

#include "cuda/device.hpp"
#include "parallel/array_work.hpp"

namespace bitfall::cuda {

struct UnfoldArguments {
  RowWindow window;
  const RowAddress* addresses = nullptr;  ///< [count], on the device
  std::int64_t count = 0;
  float* rows = nullptr;  ///< [count][D]
};

/// Copies the rows at the addresses; outside the image is 0. The twin is LayerWindow::gather_row. Bytes: 4
/// read (from caches, most of them) and 4 written per value.
void unfold_rows(const UnfoldArguments& arguments, const Device& device);

}  // namespace bitfall::cuda
