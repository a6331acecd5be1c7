#include "calibration/device_rows.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/take.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "bitfall/errors.hpp"

namespace bitfall {
namespace {

at::Tensor indices_on(const at::Tensor& place, const std::vector<std::int64_t>& values) {
  return at::tensor(at::ArrayRef<std::int64_t>(values)).to(place.device());
}

}  // namespace

RowWindow row_window(const Layer& layer, const at::Tensor& input) {
  RowWindow window;
  window.values = input.const_data_ptr<float>();
  if (layer.kind == LayerKind::linear) {
    const LayerWindow rows(layer, input);
    window.channels = layer.columns();
    window.channel_stride = 1;
    window.line_stride = window.channels;
    window.input[0] = window.output[0] = rows.positions();
    window.image_stride = rows.positions() * window.channels;
    return window;
  }
  const WindowShape shape = window_shape(layer, input);
  window.channels = shape.channels;
  window.value_stride = 1;
  window.line_stride = shape.input[1];
  window.channel_stride = shape.plane();
  window.group_stride = shape.channels * shape.plane();
  window.image_stride = layer.groups * window.group_stride;
  std::ranges::copy(shape.input, window.input);
  std::ranges::copy(shape.kernel, window.kernel);
  std::ranges::copy(shape.stride, window.stride);
  std::ranges::copy(shape.padding, window.padding);
  std::ranges::copy(shape.dilation, window.dilation);
  for (int axis = 0; axis < 2; ++axis) window.output[axis] = shape.output(axis);
  return window;
}

at::Tensor outputs_at(const at::Tensor& outputs, std::span<const RowAddress> rows) {
  const std::int64_t channels = outputs.size(1), positions = outputs.size(2) * outputs.size(3);
  std::vector<std::int64_t> first, channel;
  for (const RowAddress& row : rows) first.push_back(row.image * channels * positions + row.position);
  for (std::int64_t c = 0; c < channels; ++c) channel.push_back(c * positions);
  return at::take(outputs,
                  indices_on(outputs, channel).unsqueeze(1) + indices_on(outputs, first).unsqueeze(0));
}

void DeviceSums::prepare(const at::Tensor& x, std::int64_t products, std::int64_t sums) {
  BITFALL_ASSERT(arrays_ != nullptr, "sums on a device without one");
  if (sums_.defined()) return;
  product_ = at::empty({products}, x.options());
  sums_ = at::zeros({sums}, x.options().dtype(at::kLong));
}

void DeviceSums::add_square(const at::Tensor& x) {
  const std::int64_t columns = x.size(1);
  prepare(x, columns * columns, columns * (columns + 1) / 2);
  arrays_->add_square(x.const_data_ptr<float>(), x.size(0), columns, factor_,
                      product_.mutable_data_ptr<float>(), sums_.mutable_data_ptr<std::int64_t>());
}

void DeviceSums::add_product(const at::Tensor& y, const at::Tensor& x) {
  const at::Tensor left = y.contiguous();
  const std::int64_t rows = left.size(0), columns = x.size(1);
  prepare(x, rows * columns, rows * columns);
  arrays_->add_product(left.const_data_ptr<float>(), x.const_data_ptr<float>(), rows, x.size(0), columns,
                       factor_, product_.mutable_data_ptr<float>(), sums_.mutable_data_ptr<std::int64_t>());
}

std::vector<std::int64_t> DeviceSums::values() const {
  if (!sums_.defined()) return {};
  std::vector<std::int64_t> host(static_cast<std::size_t>(sums_.numel()));
  at::from_blob(host.data(), sums_.sizes(), at::kLong).copy_(sums_);
  return host;
}

}  // namespace bitfall
