#pragma once
/// Unfolded inputs by the definition, one value at a time.
#include <cstdint>
#include <random>
#include <vector>

#include "kernel_inputs.hpp"
#include "parallel/array_work.hpp"

namespace bitfall {

/// A window and the sizes of what it lies over. `values` of the window is the host's.
struct WindowCase {
  RowWindow window;
  std::int64_t images = 1, groups = 1;
  std::vector<float> values;

  /// Column `column` of the row of an image, a group and a position.
  [[nodiscard]] float at(std::int64_t image, std::int64_t group, std::int64_t position,
                         std::int64_t column) const {
    const RowWindow& w = window;
    const std::int64_t taps = w.kernel[0] * w.kernel[1], channel = column / taps;
    const std::int64_t line =
        position / w.output[1] * w.stride[0] - w.padding[0] + column % taps / w.kernel[1] * w.dilation[0];
    const std::int64_t value =
        position % w.output[1] * w.stride[1] - w.padding[1] + column % w.kernel[1] * w.dilation[1];
    if (line < 0 || line >= w.input[0] || value < 0 || value >= w.input[1]) return 0;
    return values[static_cast<std::size_t>(image * w.image_stride + group * w.group_stride +
                                           channel * w.channel_stride + line * w.line_stride +
                                           value * w.value_stride)];
  }
};

/// A convolution over [images, groups * channels, height, width].
inline WindowCase convolution_case(std::int64_t images, std::int64_t groups, RowWindow window, Values kind,
                                   std::uint64_t seed) {
  std::mt19937_64 random(seed);
  window.value_stride = 1;
  window.line_stride = window.input[1];
  window.channel_stride = window.input[0] * window.input[1];
  window.group_stride = window.channels * window.channel_stride;
  window.image_stride = groups * window.group_stride;
  for (int axis = 0; axis < 2; ++axis)
    window.output[axis] = (window.input[axis] + 2 * window.padding[axis] -
                           window.dilation[axis] * (window.kernel[axis] - 1) - 1) /
                              window.stride[axis] +
                          1;
  WindowCase all{window, images, groups, random_values(images * window.image_stride, kind, random)};
  all.window.values = all.values.data();
  return all;
}

/// A linear layer over [images, rows, columns].
inline WindowCase linear_case(std::int64_t images, std::int64_t rows, std::int64_t columns, Values kind,
                              std::uint64_t seed) {
  std::mt19937_64 random(seed);
  RowWindow window;
  window.channels = columns;
  window.channel_stride = 1;
  window.line_stride = columns;
  window.image_stride = rows * columns;
  window.input[0] = window.output[0] = rows;
  WindowCase all{window, images, 1, random_values(images * rows * columns, kind, random)};
  all.window.values = all.values.data();
  return all;
}

/// From pointwise to padded, strided and dilated windows of unequal sides, groups, and rows of a linear
/// layer.
inline std::vector<WindowCase> window_cases(Values kind) {
  std::vector<WindowCase> cases;
  std::uint64_t seed = 1;
  const auto add = [&](std::int64_t images, std::int64_t groups, const RowWindow& window) {
    cases.push_back(convolution_case(images, groups, window, kind, seed++));
  };
  add(2, 1, {.channels = 4, .input = {5, 7}});
  add(3, 1, {.channels = 2, .input = {9, 8}, .kernel = {3, 3}, .padding = {1, 1}});
  add(1, 2, {.channels = 3, .input = {17, 19}, .kernel = {3, 3}, .stride = {2, 1}, .padding = {0, 1}});
  add(2, 1,
      {.channels = 4,
       .input = {9, 9},
       .kernel = {3, 2},
       .stride = {1, 2},
       .padding = {2, 2},
       .dilation = {2, 3}});
  add(1, 5, {.channels = 1, .input = {6, 6}, .kernel = {5, 5}, .padding = {4, 4}});
  add(2, 1, {.channels = 8, .input = {3, 3}, .stride = {2, 2}});
  cases.push_back(linear_case(2, 3, 36, kind, seed++));
  cases.push_back(linear_case(1, 300, 12, kind, seed++));
  // Moving a case moves its values, not what they point to; a copy would.
  for (WindowCase& each : cases) each.window.values = each.values.data();
  return cases;
}

}  // namespace bitfall
