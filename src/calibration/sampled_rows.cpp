#include "calibration/sampled_rows.hpp"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include "bitfall/errors.hpp"
#include "bitfall/random.hpp"
#include "calibration/flat_layer.hpp"
#include "calibration/magnitude.hpp"
#include "calibration/shifted_gram.hpp"
#include "calibration/torch_errors.hpp"
#include "parallel/threads.hpp"

namespace bitfall {
namespace {

constexpr std::int64_t chunk_rows = 1024;

/// Images of all ranks before this one's, and of all.
std::pair<std::int64_t, std::int64_t> image_range(std::int64_t local, const Communicator& communicator) {
  const auto counts = communicator.all_gather(std::span<const std::int64_t>(&local, 1));
  std::int64_t before = 0, all = 0;
  for (std::size_t rank = 0; rank < counts.size(); ++rank) {
    if (static_cast<int>(rank) < communicator.rank()) before += counts[rank];
    all += counts[rank];
  }
  return {before, all};
}

/// By what every rank knows of the layer.
bool has_shifted_form(const Layer& layer) {
  if (layer.kind != LayerKind::convolution || layer.weight_shape.size() != 4) return false;
  WindowShape shape;
  shape.channels = layer.weight_shape[1];
  for (std::size_t axis = 0; axis < 2; ++axis) {
    shape.kernel[axis] = layer.weight_shape[axis + 2];
    shape.stride[axis] = layer.stride.at(axis);
    shape.dilation[axis] = layer.dilation.at(axis);
  }
  return ShiftedGram::fits(shape);
}

}  // namespace

SampledRows::SampledRows(const Layer& given, std::span<const at::Tensor> inputs,
                         const FullGramParameters& parameters, const Communicator& communicator)
    : layer_(flat_layer(given)), parameters_(parameters), communicator_(communicator) {
  const Layer& layer = layer_;
  std::int64_t images = 0;
  communicator.guarded("inputs of layer '" + layer.name + "'", [&] {
    with_torch_errors(
        [&] {
          for (const at::Tensor& input : inputs) {
            inputs_.push_back(flat_input(given, input));
            windows_.emplace_back(layer, inputs_.back());
            images += windows_.back().images();
          }
          largest_ = largest_magnitude(inputs_, parameters.threads);
        },
        [&] { return "layer '" + layer.name + "'"; });
    if (!(largest_ < 1e19)) throw_bad_input(layer, inputs, parameters.image_names);
  });
  largest_ = communicator.max(largest_);
  const auto [before, all] = image_range(images, communicator);
  const std::int64_t each = std::max<std::int64_t>(1, all * layer.groups);
  std::int64_t positions = 1;
  for (const LayerWindow& window : windows_) positions = std::max(positions, window.positions());
  positions = communicator.max(positions);
  std::int64_t wanted =
      parameters.rows > 0 ? std::min(positions, (parameters.rows + each - 1) / each) : positions;
  // Where half of the positions are wanted anyway, all of them cost less as shifted products.
  shifted_ = layer.groups == 1 && 2 * wanted >= positions && has_shifted_form(layer);
  if (shifted_) wanted = positions;
  std::int64_t image = before;
  std::vector<std::int64_t> rows{0};
  for (const LayerWindow& window : windows_) {
    addresses_.push_back(choose(window, image, wanted));
    rows[0] += static_cast<std::int64_t>(addresses_.back().size());
    image += window.images();
  }
  communicator.sum(rows);
  all_rows_ = std::max<std::int64_t>(1, rows[0]);
}

/// Of each image and group `wanted` positions, one at random from each of as many equal stretches in raster
/// order, or all.
std::vector<RowAddress> SampledRows::choose(const LayerWindow& window, std::int64_t first_image,
                                            std::int64_t wanted) const {
  std::vector<RowAddress> rows;
  const std::int64_t positions = window.positions();
  const std::int64_t count = std::min(wanted, positions);
  const double stretch =
      static_cast<double>(positions) / static_cast<double>(std::max<std::int64_t>(1, count));
  for (std::int64_t image = 0; image < window.images(); ++image) {
    for (std::int64_t group = 0; group < window.groups(); ++group) {
      for (std::int64_t i = 0; i < count; ++i) {
        std::int64_t position = i;
        if (count < positions) {
          const std::int64_t index = ((first_image + image) * window.groups() + group) * count + i;
          const std::uint64_t bits =
              random_bits(parameters_.seed, parameters_.stream, static_cast<std::uint64_t>(index));
          const double u = std::ldexp(static_cast<double>(bits >> 11), -53);
          position =
              std::min(positions - 1, static_cast<std::int64_t>((static_cast<double>(i) + u) * stretch));
        }
        rows.push_back({image, group, position});
      }
    }
  }
  return rows;
}

void SampledRows::each_chunk(const std::string& what, const std::function<void(const Chunk&)>& work) const {
  communicator_.guarded(what + " of layer '" + layer_.name + "'", [&] {
    with_torch_errors(
        [&] {
          for (std::size_t i = 0; i < addresses_.size(); ++i) {
            const auto count = static_cast<std::int64_t>(addresses_[i].size());
            for (std::int64_t first = 0; first < count; first += chunk_rows)
              work({i, first, std::min(chunk_rows, count - first)});
          }
        },
        [&] { return "layer '" + layer_.name + "'"; });
  });
}

bool SampledRows::fit_outputs(std::span<const at::Tensor> tensors) const {
  if (layer_.groups != 1 || tensors.size() != windows_.size()) return false;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const at::Tensor& tensor = tensors[i];
    if (tensor.dim() != 4 || tensor.scalar_type() != at::kFloat || tensor.size(0) != windows_[i].images() ||
        tensor.size(1) != layer_.rows() || tensor.size(2) * tensor.size(3) != windows_[i].positions())
      return false;
  }
  return true;
}

std::span<const RowAddress> SampledRows::addresses(const Chunk& chunk) const {
  return std::span(addresses_[chunk.micro_batch])
      .subspan(static_cast<std::size_t>(chunk.first), static_cast<std::size_t>(chunk.count));
}

at::Tensor SampledRows::gather_outputs(const Chunk& chunk, std::span<const at::Tensor> outputs) const {
  const auto chosen = addresses(chunk);
  const at::Tensor& given = outputs[chunk.micro_batch];
  if (on_device()) return outputs_at(given, chosen);
  const std::int64_t rows = layer_.rows(), positions = windows_[chunk.micro_batch].positions();
  at::Tensor gathered = at::empty({rows, chunk.count}, at::kFloat);
  const float* value = given.const_data_ptr<float>();
  float* out = gathered.mutable_data_ptr<float>();
  parallel_for(rows, parameters_.threads, [&](std::int64_t row) {
    for (std::int64_t i = 0; i < chunk.count; ++i) {
      const RowAddress& at = chosen[static_cast<std::size_t>(i)];
      out[row * chunk.count + i] = value[(at.image * rows + row) * positions + at.position];
    }
  });
  return gathered;
}

at::Tensor SampledRows::gather(const Chunk& chunk, at::Tensor& memory) const {
  const auto chosen = addresses(chunk);
  const at::Tensor& input = inputs_[chunk.micro_batch];
  const std::int64_t columns = layer_.columns();
  if (!memory.defined()) memory = at::empty({chunk_rows, columns}, input.options());
  const at::Tensor rows = memory.narrow(0, 0, chunk.count);
  if (on_device()) {
    parameters_.arrays->unfold(row_window(layer_, input), chosen, rows.mutable_data_ptr<float>());
    return rows;
  }
  const float* data = input.const_data_ptr<float>();
  float* out = rows.mutable_data_ptr<float>();
  parallel_for(chunk.count, parameters_.threads, [&](std::int64_t r) {
    const RowAddress& row = chosen[static_cast<std::size_t>(r)];
    windows_[chunk.micro_batch].gather_row(data, row.image, row.group, row.position, out + r * columns);
  });
  return rows;
}

}  // namespace bitfall
