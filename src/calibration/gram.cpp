#include <ATen/core/Tensor.h>

#include "bitfall/calibration.hpp"
#include "bitfall/errors.hpp"
#include "calibration/device_moments.hpp"
#include "calibration/flat_layer.hpp"
#include "calibration/gram_kernels.hpp"
#include "calibration/layer_window.hpp"
#include "calibration/partial_sums.hpp"
#include "calibration/torch_errors.hpp"
#include "calibration/unfold.hpp"
#include "parallel/threads.hpp"

namespace bitfall {
namespace {

/// Number of unfolded rows of one input.
std::int64_t sample_count(const Layer& layer, const at::Tensor& input) {
  if (layer.kind == LayerKind::convolution) {
    const WindowShape shape = window_shape(layer, input);
    return input.size(0) * shape.positions() * layer.groups;
  }
  const std::int64_t columns = layer.columns();
  if (input.dim() == 0 || input.size(-1) != columns) refuse_input(layer, input);
  return input.numel() / columns;
}

/// Adds the triangles of one micro-batch to `sums`: one for each position, or
/// one for all of them.
void add_micro_batch(const Layer& layer, const at::Tensor& input, const GramParameters& parameters,
                     std::span<double> sums) {
  const std::int64_t d = parameters.d;
  const auto pairs = static_cast<std::size_t>(pair_count(d));
  const std::int64_t positions = layer.columns() / d;
  const float* data = input.const_data_ptr<float>();
  ProductSums products(d);
  const auto each_position = [&](const auto& add_columns) {
    for (std::int64_t j = 0; j < positions; ++j) {
      add_columns(j * d);
      if (parameters.per_position) products.finish(sums.subspan(static_cast<std::size_t>(j) * pairs, pairs));
    }
    if (!parameters.per_position) products.finish(sums);
  };
  if (layer.kind == LayerKind::linear) {
    const std::int64_t samples = input.numel() / layer.columns();
    each_position([&](std::int64_t first_column) {
      add_linear_columns(data, samples, layer.columns(), first_column, d, products);
    });
    return;
  }
  const WindowShape shape = window_shape(layer, input);
  ColumnReader reader(shape, d);
  const std::int64_t images_and_groups = input.size(0) * layer.groups;
  each_position([&](std::int64_t first_column) {
    for (std::int64_t i = 0; i < images_and_groups; ++i) {
      reader.add(data + i * shape.channels * shape.plane(), first_column, products);
    }
  });
}

/// The same of an input that lies on a device.
void add_device_micro_batch(const Layer& layer, const at::Tensor& input, const GramParameters& parameters,
                            std::span<double> sums) {
  const at::Tensor moments = device_moments(layer, input, parameters.d, *parameters.arrays).cpu();
  const std::span<const double> triangles(moments.const_data_ptr<double>(),
                                          static_cast<std::size_t>(moments.numel()));
  // One triangle for each position, or all of them in one.
  for (std::size_t i = 0; i < triangles.size(); ++i) sums[i % sums.size()] += triangles[i];
}

/// The symmetric d x d matrices of `count` upper triangles.
std::vector<double> full_matrices(std::span<const double> triangles, std::int64_t d) {
  const std::size_t size = static_cast<std::size_t>(d);
  const std::size_t pairs = static_cast<std::size_t>(pair_count(d));
  std::vector<double> matrices(triangles.size() / pairs * size * size);
  for (std::size_t matrix = 0; matrix < triangles.size() / pairs; ++matrix) {
    const double* pair = triangles.data() + matrix * pairs;
    double* out = matrices.data() + matrix * size * size;
    for (std::size_t a = 0; a < size; ++a) {
      for (std::size_t b = a; b < size; ++b) out[a * size + b] = out[b * size + a] = *pair++;
    }
  }
  return matrices;
}

}  // namespace

Gram accumulate_gram(const Layer& given, std::span<const at::Tensor> inputs, const GramParameters& parameters,
                     const Communicator& communicator) {
  const Layer layer = flat_layer(given);
  const std::int64_t d = parameters.d;
  BITFALL_ASSERT(d >= 1 && layer.columns() % d == 0,
                 "Gram matrix of '" + layer.name + "' with d = " + std::to_string(d));
  const auto matrices = static_cast<std::size_t>(parameters.per_position ? layer.columns() / d : 1);
  PartialSums partials(inputs.size(), matrices * static_cast<std::size_t>(pair_count(d)));
  std::vector<std::int64_t> samples(inputs.size());
  communicator.guarded("Gram matrix of layer '" + layer.name + "'", [&] {
    const bool on_host = parameters.arrays == nullptr;
    const int threads = on_host ? parameters.threads : 1;
    parallel_for(static_cast<std::int64_t>(inputs.size()), threads, [&](std::int64_t index) {
      const auto i = static_cast<std::size_t>(index);
      with_torch_errors(
          [&] {
            const at::Tensor input = flat_input(given, inputs[i]);
            samples[i] = sample_count(layer, input);
            const auto add = on_host ? add_micro_batch : add_device_micro_batch;
            add(layer, input, parameters, partials.row(i));
          },
          [&] { return "layer '" + layer.name + "'"; });
    });
    if (!partials.is_finite()) throw_bad_input(layer, inputs, parameters.image_names);
  });
  Gram gram;
  gram.d = d;
  std::vector<std::int64_t> all_samples{0};
  for (const std::int64_t count : samples) all_samples[0] += count;
  communicator.sum(all_samples);
  gram.samples = all_samples[0];
  gram.pooled = full_matrices(partials.total(communicator, matrices), d);
  if (parameters.per_position) gram.per_position = full_matrices(partials.total(communicator), d);
  return gram;
}

}  // namespace bitfall
