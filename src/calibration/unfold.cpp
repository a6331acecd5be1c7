#include "calibration/unfold.hpp"

#include <algorithm>

namespace bitfall {
namespace {

constexpr std::int64_t tile_positions = 256;

/// The smallest multiple of the vector length that is not below `value`.
std::int64_t round_up(std::int64_t value) {
  return (value + product_lanes - 1) / product_lanes * product_lanes;
}

bool is_plain(const WindowShape& shape) {
  return shape.kernel[0] * shape.kernel[1] == 1 && shape.padding[0] + shape.padding[1] == 0 &&
         shape.stride[0] * shape.stride[1] == 1;
}

bool is_unit_stride(const WindowShape& shape) {
  return shape.stride[0] == 1 && shape.stride[1] == 1;
}

}  // namespace

ColumnReader::ColumnReader(const WindowShape& shape, std::int64_t d)
    : shape_(shape), d_(d), rows_(static_cast<std::size_t>(d)) {
  if (is_plain(shape)) return;
  if (!is_unit_stride(shape)) {
    buffer_.resize(static_cast<std::size_t>(d * tile_positions));
    return;
  }
  pitch_ = shape.input[1] + 2 * shape.padding[1];
  length_ = round_up((shape.output(0) - 1) * pitch_ + shape.output(1));
  // The last window starts at the last kernel element and reads length_ floats.
  const std::int64_t last_start =
      (shape.kernel[0] - 1) * shape.dilation[0] * pitch_ + (shape.kernel[1] - 1) * shape.dilation[1];
  padded_ = std::max(last_start + length_, (shape.input[0] + 2 * shape.padding[0]) * pitch_);
  const std::int64_t kernel_elements = shape.kernel[0] * shape.kernel[1];
  const std::int64_t most_channels = (d + kernel_elements - 2) / kernel_elements + 1;
  buffer_.resize(static_cast<std::size_t>(most_channels * padded_));
  mask_.resize(static_cast<std::size_t>(length_));
  for (std::int64_t row = 0; row < shape.output(0); ++row) {
    std::fill_n(mask_.begin() + row * pitch_, shape.output(1), keep_mask());
  }
}

void ColumnReader::add(const float* group, std::int64_t first_column, ProductSums& sums) {
  if (is_plain(shape_)) {
    add_planes(group, first_column, sums);
  } else if (is_unit_stride(shape_)) {
    add_shifted(group, first_column, sums);
  } else {
    add_gathered(group, first_column, sums);
  }
}

void ColumnReader::add_planes(const float* group, std::int64_t first_column, ProductSums& sums) {
  for (std::int64_t i = 0; i < d_; ++i) {
    rows_[static_cast<std::size_t>(i)] = group + (first_column + i) * shape_.plane();
  }
  sums.add(rows_, shape_.plane());
}

void ColumnReader::add_shifted(const float* group, std::int64_t first_column, ProductSums& sums) {
  const std::int64_t kernel_elements = shape_.kernel[0] * shape_.kernel[1];
  const std::int64_t first_channel = first_column / kernel_elements;
  const std::int64_t last_channel = (first_column + d_ - 1) / kernel_elements;
  for (std::int64_t channel = first_channel; channel <= last_channel; ++channel) {
    // Only the inside is written: the zeros around it stay from the
    // construction.
    const float* plane = group + channel * shape_.plane();
    float* inside =
        buffer_.data() + (channel - first_channel) * padded_ + shape_.padding[0] * pitch_ + shape_.padding[1];
    for (std::int64_t row = 0; row < shape_.input[0]; ++row) {
      std::copy_n(plane + row * shape_.input[1], shape_.input[1], inside + row * pitch_);
    }
  }
  for (std::int64_t i = 0; i < d_; ++i) {
    const std::int64_t column = first_column + i;
    const std::int64_t element = column % kernel_elements;
    const std::int64_t shift = element / shape_.kernel[1] * shape_.dilation[0] * pitch_ +
                               element % shape_.kernel[1] * shape_.dilation[1];
    rows_[static_cast<std::size_t>(i)] =
        buffer_.data() + (column / kernel_elements - first_channel) * padded_ + shift;
  }
  sums.add(rows_, length_, mask_.data());
}

void ColumnReader::add_gathered(const float* group, std::int64_t first_column, ProductSums& sums) {
  const std::int64_t kernel_elements = shape_.kernel[0] * shape_.kernel[1];
  const std::int64_t positions = shape_.positions();
  for (std::int64_t i = 0; i < d_; ++i) {
    rows_[static_cast<std::size_t>(i)] = buffer_.data() + i * tile_positions;
  }
  for (std::int64_t first = 0; first < positions; first += tile_positions) {
    const std::int64_t count = std::min(tile_positions, positions - first);
    for (std::int64_t i = 0; i < d_; ++i) {
      const std::int64_t column = first_column + i;
      const std::int64_t element = column % kernel_elements;
      gather(group + column / kernel_elements * shape_.plane(), element / shape_.kernel[1],
             element % shape_.kernel[1], first, count, buffer_.data() + i * tile_positions);
    }
    sums.add(rows_, count);
  }
}

void ColumnReader::gather(const float* plane, std::int64_t kernel_row, std::int64_t kernel_column,
                          std::int64_t first, std::int64_t count, float* out) const {
  const std::int64_t width = shape_.output(1);
  const std::int64_t end = first + count;
  for (std::int64_t position = first; position < end;) {
    // One output row at a time: out[p] = plane[y*sy - py + ky*dy][x*sx - px +
    // kx*dx], zero outside the plane.
    const std::int64_t y = position / width;
    const std::int64_t x_first = position - y * width;
    const std::int64_t x_last = std::min(width, x_first + (end - position));
    const std::int64_t row = y * shape_.stride[0] - shape_.padding[0] + kernel_row * shape_.dilation[0];
    const std::int64_t shift = kernel_column * shape_.dilation[1] - shape_.padding[1];
    const bool row_inside = row >= 0 && row < shape_.input[0];
    for (std::int64_t x = x_first; x < x_last; ++x) {
      const std::int64_t column = x * shape_.stride[1] + shift;
      const bool inside = row_inside && column >= 0 && column < shape_.input[1];
      *out++ = inside ? plane[row * shape_.input[1] + column] : 0.0F;
    }
    position += x_last - x_first;
  }
}

void add_linear_columns(const float* samples, std::int64_t count, std::int64_t columns,
                        std::int64_t first_column, std::int64_t d, ProductSums& sums) {
  std::vector<float> tile(static_cast<std::size_t>(d * tile_positions));
  std::vector<const float*> rows(static_cast<std::size_t>(d));
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = tile.data() + i * tile_positions;
  for (std::int64_t first = 0; first < count; first += tile_positions) {
    const std::int64_t size = std::min(tile_positions, count - first);
    for (std::int64_t p = 0; p < size; ++p) {
      const float* sample = samples + (first + p) * columns + first_column;
      for (std::int64_t i = 0; i < d; ++i) tile[static_cast<std::size_t>(i * tile_positions + p)] = sample[i];
    }
    sums.add(rows, size);
  }
}

}  // namespace bitfall
