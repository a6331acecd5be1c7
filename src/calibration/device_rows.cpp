#include "calibration/device_rows.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/round.h>
#include <ATen/ops/take.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

namespace bitfall {
namespace {

at::Tensor indices_on(const at::Tensor& place, const std::vector<std::int64_t>& values) {
  return at::tensor(at::ArrayRef<std::int64_t>(values)).to(place.device());
}

}  // namespace

DeviceRows::DeviceRows(const Layer& layer, const at::Tensor& input)
    : linear_(layer.kind == LayerKind::linear), columns_(layer.columns()) {
  if (linear_) {
    positions_ = input.dim() < 2 || input.size(0) == 0 ? 1 : input.numel() / columns_ / input.size(0);
    flat_ = input.reshape({-1, columns_});
    return;
  }
  shape_ = window_shape(layer, input);
  channels_ = input.size(1);
  const std::int64_t top = shape_.padding[0], left = shape_.padding[1];
  const at::Tensor padded = at::constant_pad_nd(input, {left, left, top, top});
  shape_.input[0] += 2 * top;
  shape_.input[1] += 2 * left;
  flat_ = padded.contiguous();
  std::vector<std::int64_t> offsets;
  for (std::int64_t channel = 0; channel < shape_.channels; ++channel)
    for (std::int64_t i = 0; i < shape_.kernel[0]; ++i)
      for (std::int64_t j = 0; j < shape_.kernel[1]; ++j)
        offsets.push_back((channel * shape_.input[0] + i * shape_.dilation[0]) * shape_.input[1] +
                          j * shape_.dilation[1]);
  offsets_ = indices_on(flat_, offsets);
  shape_.padding[0] = shape_.padding[1] = 0;
  row_length_ = shape_.output(1);
}

at::Tensor DeviceRows::gather(std::span<const RowAddress> rows) const {
  std::vector<std::int64_t> first;
  first.reserve(rows.size());
  for (const RowAddress& row : rows) {
    if (linear_) {
      first.push_back(row.image * positions_ + row.position);
      continue;
    }
    const std::int64_t y = row.position / row_length_ * shape_.stride[0],
                       x = row.position % row_length_ * shape_.stride[1];
    const std::int64_t plane = row.image * channels_ + row.group * shape_.channels;
    first.push_back((plane * shape_.input[0] + y) * shape_.input[1] + x);
  }
  const at::Tensor places = indices_on(flat_, first);
  if (linear_) return flat_.index_select(0, places);
  return at::take(flat_, places.unsqueeze(1) + offsets_.unsqueeze(0));
}

at::Tensor outputs_at(const at::Tensor& outputs, std::span<const RowAddress> rows) {
  const std::int64_t channels = outputs.size(1), positions = outputs.size(2) * outputs.size(3);
  std::vector<std::int64_t> first, channel;
  for (const RowAddress& row : rows) first.push_back(row.image * channels * positions + row.position);
  for (std::int64_t c = 0; c < channels; ++c) channel.push_back(c * positions);
  return at::take(outputs,
                  indices_on(outputs, channel).unsqueeze(1) + indices_on(outputs, first).unsqueeze(0));
}

void DeviceSums::add(const at::Tensor& product) {
  if (!sums_.defined()) sums_ = at::zeros(product.sizes(), product.options().dtype(at::kLong));
  // sum += round-half-even(x 2^s)
  sums_ += at::round(product.to(at::kDouble) * factor_).to(at::kLong);
}

std::vector<std::int64_t> DeviceSums::values() const {
  if (!sums_.defined()) return {};
  const at::Tensor host = sums_.cpu().contiguous();
  const std::int64_t* value = host.const_data_ptr<std::int64_t>();
  return {value, value + host.numel()};
}

}  // namespace bitfall
