#pragma once
/// Device code only: one value of an unfolded input.
#include <cstdint>

#include "device_code.hpp"
#include "parallel/array_work.hpp"

namespace bitfall::cuda {

/// The output position that a row belongs to, as the window's first line and value: they may lie outside.
struct WindowStart {
  int line, value;
};
__device__ __forceinline__ WindowStart window_start(const RowWindow& window, int position) {
  const int width = static_cast<int>(window.output[1]), line = position / width;
  return {
      line * static_cast<int>(window.stride[0]) - static_cast<int>(window.padding[0]),
      (position - line * width) * static_cast<int>(window.stride[1]) - static_cast<int>(window.padding[1])};
}

/// Column `column` (order: channel, kernel row, kernel column) of the row that starts there. `group`: the
/// first value of the image's group of channels.
__device__ __forceinline__ float window_value(const RowWindow& window, const float* group, WindowStart start,
                                              int column) {
  const int width = static_cast<int>(window.kernel[1]), taps = static_cast<int>(window.kernel[0]) * width;
  const int channel = column / taps, tap = column - channel * taps, tap_line = tap / width;
  const int line = start.line + tap_line * static_cast<int>(window.dilation[0]);
  const int value = start.value + (tap - tap_line * width) * static_cast<int>(window.dilation[1]);
  if (line < 0 || line >= window.input[0] || value < 0 || value >= window.input[1]) return 0;
  return group[channel * window.channel_stride + line * window.line_stride + value * window.value_stride];
}

}  // namespace bitfall::cuda
