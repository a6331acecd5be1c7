#include "finetune/trained_space.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "bitfall/errors.hpp"
#include "finetune/codebook_gradient.hpp"

namespace bitfall {

void TrainedSpace::add_codebook(const QuantizedLayer& layer) {
  parts_.push_back(Part{layer.weight_name, values_.size(), layer.codebook.size(), layer.d, layer.codes});
  for (const std::uint16_t half : layer.codebook) values_.push_back(half_to_float(half));
}

void TrainedSpace::add_tensor(const Network& network, const std::string& name) {
  const at::Tensor tensor = network.tensor(name).contiguous();
  if (tensor.scalar_type() != at::kFloat)
    throw DataError("tensor '" + name + "' is not float32: it can't be trained");
  const float* data = tensor.const_data_ptr<float>();
  parts_.push_back(Part{name, values_.size(), static_cast<std::size_t>(tensor.numel()), 0, {}});
  values_.insert(values_.end(), data, data + tensor.numel());
}

std::vector<std::string> TrainedSpace::names() const {
  std::vector<std::string> names;
  for (const Part& part : parts_) names.push_back(part.name);
  return names;
}

std::vector<std::int64_t> TrainedSpace::lengths() const {
  std::vector<std::int64_t> lengths;
  for (const Part& part : parts_) lengths.push_back(static_cast<std::int64_t>(part.length));
  return lengths;
}

TrainedPart TrainedSpace::on_device(const Part& part, const at::Tensor& place) {
  TrainedPart described{.first = static_cast<std::int64_t>(part.first),
                        .length = static_cast<std::int64_t>(part.length),
                        .weights = place.numel(),
                        .d = part.d};
  if (part.d == 0) return described;
  if (!part.on_device) part.on_device = device_codes(part.codes, described.length / part.d, place.device());
  described.codes = part.on_device->codes.const_data_ptr<std::int32_t>();
  described.order = part.on_device->order.const_data_ptr<std::int32_t>();
  described.starts = part.on_device->starts.const_data_ptr<std::int64_t>();
  return described;
}

void TrainedSpace::gather_on_device(std::span<const at::Tensor> gradients, std::span<double> out) const {
  std::vector<at::Tensor> dense;
  std::vector<TrainedPart> described;
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    dense.push_back(gradients[i].to(at::kFloat).contiguous());
    described.push_back(on_device(parts_[i], dense.back()));
    described.back().gradient = dense.back().const_data_ptr<float>();
  }
  if (dense.empty()) return;
  const at::Tensor all = at::empty({std::ssize(out)}, dense.front().options().dtype(at::kDouble));
  arrays_->gather_gradients(described, all.mutable_data_ptr<double>());
  at::from_blob(out.data(), all.sizes(), at::kDouble).copy_(all);
}

void TrainedSpace::gather(std::span<const at::Tensor> gradients, std::span<double> out) const {
  BITFALL_ASSERT(gradients.size() == parts_.size() && out.size() == values_.size(),
                 "one gradient for each part");
  if (arrays_ != nullptr) return gather_on_device(gradients, out);
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    const Part& part = parts_[i];
    const at::Tensor gradient = gradients[i].contiguous();
    const std::span<const float> dense(gradient.const_data_ptr<float>(),
                                       static_cast<std::size_t>(gradient.numel()));
    const std::span<double> target = out.subspan(part.first, part.length);
    if (part.d > 0)
      codebook_gradient(dense, part.codes, part.d, target);
    else
      std::copy(dense.begin(), dense.end(), target.begin());
  }
}

void TrainedSpace::write_on_device(Network& network) const {
  // One copy to the device: values are few, weights many.
  const at::Tensor values = network.place(at::tensor(at::ArrayRef<float>(values_)));
  std::vector<TrainedPart> described;
  std::vector<std::pair<at::Tensor, at::Tensor>>
      rearranged;  // weights of another memory format, such as NHWC
  for (const Part& part : parts_) {
    at::Tensor weight = network.tensor_to_write(part.name);
    if (!weight.is_contiguous()) {
      rearranged.emplace_back(weight, at::empty(weight.sizes(), weight.options()));
      weight = rearranged.back().second;
    }
    described.push_back(on_device(part, weight));
    described.back().weight = weight.mutable_data_ptr<float>();
  }
  arrays_->write_weights(described, values.const_data_ptr<float>());
  for (auto& [weight, plain] : rearranged) weight.copy_(plain);
}

void TrainedSpace::write(Network& network) const {
  if (arrays_ != nullptr && network.on_device()) return write_on_device(network);
  std::vector<float> dense;
  for (const Part& part : parts_) {
    const std::span<const float> values = std::span(values_).subspan(part.first, part.length);
    if (part.d > 0) {
      dense.resize(part.codes.size() * static_cast<std::size_t>(part.d));
      decode_blocks(values, part.codes, part.d, dense);
      network.set_tensor(part.name, dense);
    } else {
      network.set_tensor(part.name, values);
    }
  }
}

const TrainedSpace::Part* TrainedSpace::find(const std::string& name) const {
  const auto found =
      std::find_if(parts_.begin(), parts_.end(), [&](const Part& part) { return part.name == name; });
  return found == parts_.end() ? nullptr : &*found;
}

std::span<const float> TrainedSpace::codebook(const std::string& weight_name) const {
  const Part* part = find(weight_name);
  return part == nullptr ? std::span<const float>() : std::span(values_).subspan(part->first, part->length);
}

bool TrainedSpace::set_codes(const std::string& weight_name, std::span<const std::uint16_t> codes) {
  for (Part& part : parts_) {
    if (part.name != weight_name || part.d == 0) continue;
    BITFALL_ASSERT(part.codes.size() == codes.size(), weight_name);
    part.codes.assign(codes.begin(), codes.end());
    part.on_device.reset();
    return true;
  }
  return false;
}

void TrainedSpace::round_codebooks(std::span<QuantizedLayer> layers) {
  for (QuantizedLayer& layer : layers) {
    const Part* part = find(layer.weight_name);
    if (part == nullptr) continue;
    const std::span<float> values = std::span(values_).subspan(part->first, part->length);
    for (const float value : values) {
      if (!std::isfinite(half_to_float(float_to_half(value)))) {
        throw DataError("layer '" + layer.name +
                        "': training moved a codeword out of the range of fp16; lower the learning rate");
      }
    }
    StoredCodebook stored = round_codebook(values, layer.d, layer.codebook_type());
    layer.codebook = std::move(stored.halves);
    layer.codebook_scale = stored.scale;
  }
}

}  // namespace bitfall
