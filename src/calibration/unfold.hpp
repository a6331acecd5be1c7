#pragma once
/// The unfolded (im2col) input of a convolution, read a block of columns at a
/// time. No LibTorch here.
#include <cstdint>
#include <span>
#include <vector>

#include "calibration/gram_kernels.hpp"

namespace bitfall {

/// Sizes of a 2-d convolution over one image of one group of channels; index 0
/// is vertical.
struct WindowShape {
  std::int64_t channels = 0;  ///< of one group
  std::int64_t input[2] = {1, 1};
  std::int64_t kernel[2] = {1, 1};
  std::int64_t stride[2] = {1, 1};
  std::int64_t padding[2] = {0, 0};
  std::int64_t dilation[2] = {1, 1};

  [[nodiscard]] std::int64_t output(int axis) const {
    return (input[axis] + 2 * padding[axis] - dilation[axis] * (kernel[axis] - 1) - 1) / stride[axis] + 1;
  }
  [[nodiscard]] std::int64_t positions() const { return output(0) * output(1); }
  [[nodiscard]] std::int64_t plane() const { return input[0] * input[1]; }
  [[nodiscard]] std::int64_t columns() const { return channels * kernel[0] * kernel[1]; }
};

/// Adds d consecutive columns (of the order channel, kernel row, kernel column)
/// of an image's unfolded input to ProductSums, without ever having the
/// unfolded input in memory:
/// - 1x1, stride 1, no padding: a column is a channel plane, used where it
/// lies;
/// - stride 1: a column is a window shifted over the zero-padded plane.
/// Positions run over whole padded rows,
///   and a mask leaves out those that lie beyond the output's width;
/// - else: tiles of 256 positions are gathered.
class ColumnReader {
 public:
  ColumnReader(const WindowShape& shape, std::int64_t d);
  /// `group` is the first channel plane of the group, planes one behind the
  /// other.
  void add(const float* group, std::int64_t first_column, ProductSums& sums);

 private:
  void add_planes(const float* group, std::int64_t first_column, ProductSums& sums);
  void add_shifted(const float* group, std::int64_t first_column, ProductSums& sums);
  void add_gathered(const float* group, std::int64_t first_column, ProductSums& sums);
  void gather(const float* plane, std::int64_t kernel_row, std::int64_t kernel_column, std::int64_t first,
              std::int64_t count, float* out) const;

  WindowShape shape_;
  std::int64_t d_;
  std::int64_t pitch_ = 0;     ///< floats from one padded row to the next
  std::int64_t padded_ = 0;    ///< floats of a padded plane, and a vector more
  std::int64_t length_ = 0;    ///< positions over whole padded rows, a multiple of the vector length
  std::vector<float> buffer_;  ///< padded planes of the block's channels, or a gathered tile
  std::vector<float> mask_;
  std::vector<const float*> rows_;
};

/// Adds d consecutive columns of `samples` rows of `columns` contiguous floats
/// (the inputs of a linear layer).
void add_linear_columns(const float* samples, std::int64_t count, std::int64_t columns,
                        std::int64_t first_column, std::int64_t d, ProductSums& sums);

}  // namespace bitfall
