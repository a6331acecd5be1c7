#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/mm.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "bitfall/calibration.hpp"
#include "bitfall/errors.hpp"
#include "bitfall/exact_sum.hpp"
#include "bitfall/random.hpp"
#include "calibration/layer_window.hpp"
#include "calibration/torch_errors.hpp"
#include "parallel/threads.hpp"

namespace bitfall {
namespace {

/// Rows that one matrix product takes: enough for its speed, few enough for float sums.
constexpr std::int64_t chunk_rows = 512;

/// One unfolded row of an input: an image, a group of channels, an output position.
struct RowAddress {
  std::int64_t image = 0, group = 0, position = 0;
};

/// Which rows of a micro-batch are taken: of each image and group `wanted` positions, one at random from each
/// of as many equal stretches in raster order, or all.
std::vector<RowAddress> choose_rows(const LayerWindow& window, std::int64_t first_image, std::int64_t wanted,
                                    const FullGramParameters& parameters) {
  std::vector<RowAddress> rows;
  const std::int64_t positions = window.positions();
  const std::int64_t count = std::min(wanted, positions);
  for (std::int64_t image = 0; image < window.images(); ++image) {
    for (std::int64_t group = 0; group < window.groups(); ++group) {
      for (std::int64_t i = 0; i < count; ++i) {
        std::int64_t position = i;
        if (count < positions) {
          const auto index =
              static_cast<std::uint64_t>(((first_image + image) * window.groups() + group) * count + i);
          const double u = std::ldexp(
              static_cast<double>(random_bits(parameters.seed, parameters.stream, index) >> 11), -53);
          position = std::min(positions - 1, static_cast<std::int64_t>((static_cast<double>(i) + u) *
                                                                       static_cast<double>(positions) /
                                                                       static_cast<double>(count)));
        }
        rows.push_back({image, group, position});
      }
    }
  }
  return rows;
}

/// The lower triangle of sums of products, as integers of one scale.
class Triangle {
 public:
  Triangle(std::int64_t columns, const FixedPoint& scale)
      : columns_(columns), scale_(scale), sums_(static_cast<std::size_t>(columns * (columns + 1) / 2), 0) {}

  /// Adds X^T X of `count` rows of X. Panels of columns are shared by threads; each entry is one float
  /// product of at most chunk_rows terms, rounded once to the scale.
  void add(const std::vector<float>& rows, std::int64_t count, int threads) {
    const std::int64_t width = columns_ < 1024 ? 64 : 256;
    const at::Tensor x = at::from_blob(const_cast<float*>(rows.data()), {count, columns_}, at::kFloat);
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

  [[nodiscard]] std::vector<double> total(const Communicator& communicator) {
    communicator.sum(sums_);
    std::vector<double> values(sums_.size());
    for (std::size_t i = 0; i < sums_.size(); ++i) values[i] = scale_.to_double(sums_[i]);
    return values;
  }

 private:
  std::int64_t columns_;
  FixedPoint scale_;
  std::vector<std::int64_t> sums_;
};

double largest_magnitude(std::span<const at::Tensor> inputs, int threads) {
  std::vector<double> largest(inputs.size(), 0.0);
  parallel_for(static_cast<std::int64_t>(inputs.size()), threads, [&](std::int64_t i) {
    const float* value = inputs[static_cast<std::size_t>(i)].const_data_ptr<float>();
    const float* end = value + inputs[static_cast<std::size_t>(i)].numel();
    float most = 0;
    for (; value < end; ++value) most = std::isnan(*value) ? HUGE_VALF : std::max(most, std::abs(*value));
    largest[static_cast<std::size_t>(i)] = static_cast<double>(most);
  });
  return largest.empty() ? 0 : *std::max_element(largest.begin(), largest.end());
}

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

}  // namespace

FullGram accumulate_full_gram(const Layer& layer, std::span<const at::Tensor> inputs,
                              const FullGramParameters& parameters, const Communicator& communicator) {
  const auto where = [&] { return "layer '" + layer.name + "'"; };
  std::vector<LayerWindow> windows;
  std::vector<at::Tensor> plain;
  std::int64_t images = 0;
  double largest = 0;
  communicator.guarded("inputs of layer '" + layer.name + "'", [&] {
    with_torch_errors(
        [&] {
          for (const at::Tensor& input : inputs) {
            plain.push_back(prepare_input(layer, input));
            windows.emplace_back(layer, plain.back());
            images += windows.back().images();
          }
          largest = largest_magnitude(plain, parameters.threads);
        },
        where);
    if (!(largest < 1e19)) throw_bad_input(layer);
  });
  largest = communicator.max(largest);
  const auto [before, all_images] = image_range(images, communicator);
  const std::int64_t each = all_images * layer.groups;
  const std::int64_t positions =
      communicator.max(windows.empty() ? std::int64_t{1} : windows.front().positions());
  const std::int64_t wanted =
      parameters.rows > 0 && each > 0 ? std::min(positions, (parameters.rows + each - 1) / each) : positions;

  FullGram gram;
  gram.columns = layer.columns();
  // |sum of products| <= rows * largest^2, and a little for float rounding
  Triangle triangle(gram.columns,
                    FixedPoint::for_sum(1.01 * largest * largest, std::max<std::int64_t>(1, each * wanted)));
  std::int64_t first_image = before;
  std::vector<std::int64_t> samples{0};
  communicator.guarded("Gram matrix of layer '" + layer.name + "'", [&] {
    with_torch_errors(
        [&] {
          std::vector<float> chunk;
          for (std::size_t i = 0; i < windows.size(); ++i) {
            const auto rows = choose_rows(windows[i], first_image, wanted, parameters);
            const float* data = plain[i].const_data_ptr<float>();
            for (std::size_t first = 0; first < rows.size(); first += chunk_rows) {
              const auto count =
                  static_cast<std::int64_t>(std::min<std::size_t>(chunk_rows, rows.size() - first));
              chunk.resize(static_cast<std::size_t>(count * gram.columns));
              parallel_for(count, parameters.threads, [&](std::int64_t r) {
                const RowAddress& row = rows[first + static_cast<std::size_t>(r)];
                windows[i].gather_row(data, row.image, row.group, row.position,
                                      chunk.data() + r * gram.columns);
              });
              triangle.add(chunk, count, parameters.threads);
            }
            samples[0] += static_cast<std::int64_t>(rows.size());
            first_image += windows[i].images();
          }
        },
        where);
  });
  communicator.sum(samples);
  gram.samples = samples[0];
  gram.lower = triangle.total(communicator);
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
