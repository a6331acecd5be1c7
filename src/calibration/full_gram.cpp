#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/mm.h>

#include <algorithm>
#include <utility>

#include "bitfall/calibration.hpp"
#include "bitfall/exact_sum.hpp"
#include "calibration/layer_window.hpp"
#include "calibration/sampled_rows.hpp"
#include "calibration/shifted_gram.hpp"
#include "parallel/threads.hpp"

namespace bitfall {
namespace {

/// The lower triangle of sums of products, as integers of one scale.
class Triangle {
 public:
  Triangle(std::int64_t columns, const FixedPoint& scale)
      : columns_(columns), scale_(scale), sums_(static_cast<std::size_t>(columns * (columns + 1) / 2), 0) {}

  /// Adds X^T X of `count` rows of X. Panels of columns are shared by threads; each entry is one float
  /// product of at most chunk_rows terms, rounded once to the scale.
  void add(const at::Tensor& x, int threads) {
    const std::int64_t width = columns_ < 1024 ? 64 : 256;
    parallel_for((columns_ + width - 1) / width, threads, [&](std::int64_t panel) {
      const std::int64_t first = panel * width;
      const std::int64_t columns = std::min(width, columns_ - first);
      const at::Tensor product =
          at::mm(x.narrow(1, first, columns).t(), x.narrow(1, 0, first + columns)).contiguous();
      const float* value = product.const_data_ptr<float>();
      for (std::int64_t a = first; a < first + columns; ++a, value += first + columns) {
        std::int64_t* sum = sums_.data() + a * (a + 1) / 2;
        for (std::int64_t b = 0; b <= a; ++b) sum[b] += scale_.to_integer(static_cast<double>(value[b]));
      }
    });
  }

  /// Takes sums that were formed elsewhere, if there are any.
  void set(std::vector<std::int64_t> sums) {
    if (!sums.empty()) sums_ = std::move(sums);
  }

  [[nodiscard]] std::vector<double> total(const Communicator& communicator, int threads) {
    communicator.sum(sums_);
    std::vector<double> values(sums_.size());
    parallel_for(columns_, threads, [&](std::int64_t a) {
      const auto first = static_cast<std::size_t>(a * (a + 1) / 2),
                 end = first + static_cast<std::size_t>(a) + 1;
      for (std::size_t i = first; i < end; ++i) values[i] = scale_.to_double(sums_[i]);
    });
    return values;
  }

 private:
  std::int64_t columns_;
  FixedPoint scale_;
  std::vector<std::int64_t> sums_;
};

/// All positions of all images through products of shifted planes.
std::vector<double> shifted_triangle(const Layer& layer, const SampledRows& sampled, const FixedPoint& scale,
                                     int threads, const Communicator& communicator) {
  WindowShape shape;  // whatever the images' size: ranks without images have the sums too
  shape.channels = layer.weight_shape[1];
  shape.kernel[0] = layer.weight_shape[2];
  shape.kernel[1] = layer.weight_shape[3];
  ShiftedGram gram(shape, scale);
  communicator.guarded("Gram matrix of layer '" + layer.name + "'", [&] {
    for (const at::Tensor& input : sampled.inputs())
      gram.add(input.const_data_ptr<float>(), input.size(0), window_shape(layer, input), threads);
  });
  communicator.sum(gram.sums());
  return gram.lower_triangle();
}

}  // namespace

FullGram accumulate_full_gram(const Layer& layer, std::span<const at::Tensor> inputs,
                              const FullGramParameters& parameters, const Communicator& communicator) {
  const SampledRows sampled(layer, inputs, parameters, communicator);
  FullGram gram;
  gram.columns = layer.columns();
  gram.samples = sampled.rows();
  // |sum of products| <= rows * largest^2, and a little for float rounding
  const double largest = sampled.largest();
  const FixedPoint scale = FixedPoint::for_sum(1.01 * largest * largest, sampled.rows());
  if (sampled.is_shifted()) {
    gram.lower = shifted_triangle(sampled.layer(), sampled, scale, parameters.threads, communicator);
    return gram;
  }
  Triangle triangle(gram.columns, scale);
  DeviceSums on_device(scale, parameters.arrays);
  at::Tensor memory;
  sampled.each_chunk("Gram matrix", [&](const SampledRows::Chunk& chunk) {
    const at::Tensor rows = sampled.gather(chunk, memory);
    if (sampled.on_device())
      on_device.add_square(rows);
    else
      triangle.add(rows, parameters.threads);
  });
  triangle.set(on_device.values());
  gram.lower = triangle.total(communicator, parameters.threads);
  return gram;
}

std::vector<double> diagonal_blocks(const FullGram& gram, std::int64_t d) {
  std::vector<double> blocks;
  blocks.reserve(static_cast<std::size_t>(gram.columns * d));
  const auto entry = [&](std::int64_t a, std::int64_t b) {
    if (a < b) std::swap(a, b);
    return gram.lower[static_cast<std::size_t>(a * (a + 1) / 2 + b)];
  };
  for (std::int64_t first = 0; first < gram.columns; first += d)
    for (std::int64_t a = 0; a < d; ++a)
      for (std::int64_t b = 0; b < d; ++b) blocks.push_back(entry(first + a, first + b));
  return blocks;
}

std::vector<double> sum_positions(std::span<const double> per_position, std::int64_t d) {
  std::vector<double> pooled(static_cast<std::size_t>(d * d), 0.0);
  for (std::size_t i = 0; i < per_position.size(); ++i) pooled[i % pooled.size()] += per_position[i];
  return pooled;
}

}  // namespace bitfall
