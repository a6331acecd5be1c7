#include "calibration/sampled_rows.hpp"

#include <algorithm>
#include <cmath>

#include "bitfall/errors.hpp"
#include "bitfall/random.hpp"
#include "calibration/torch_errors.hpp"
#include "parallel/threads.hpp"

namespace bitfall {
namespace {

constexpr std::int64_t chunk_rows = 512;

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

SampledRows::SampledRows(const Layer& layer, std::span<const at::Tensor> inputs,
                         const FullGramParameters& parameters, const Communicator& communicator)
    : layer_(layer), parameters_(parameters), communicator_(communicator) {
  std::int64_t images = 0;
  communicator.guarded("inputs of layer '" + layer.name + "'", [&] {
    with_torch_errors(
        [&] {
          for (const at::Tensor& input : inputs) {
            inputs_.push_back(prepare_input(layer, input));
            windows_.emplace_back(layer, inputs_.back());
            images += windows_.back().images();
          }
          largest_ = largest_magnitude(inputs_, parameters.threads);
        },
        [&] { return "layer '" + layer.name + "'"; });
    if (!(largest_ < 1e19)) throw_bad_input(layer);
  });
  largest_ = communicator.max(largest_);
  const auto [before, all] = image_range(images, communicator);
  const std::int64_t each = std::max<std::int64_t>(1, all * layer.groups);
  std::int64_t positions = 1;
  for (const LayerWindow& window : windows_) positions = std::max(positions, window.positions());
  positions = communicator.max(positions);
  const std::int64_t wanted =
      parameters.rows > 0 ? std::min(positions, (parameters.rows + each - 1) / each) : positions;
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
std::vector<SampledRows::Address> SampledRows::choose(const LayerWindow& window, std::int64_t first_image,
                                                      std::int64_t wanted) const {
  std::vector<Address> rows;
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

void SampledRows::gather(const Chunk& chunk, std::vector<float>& out) const {
  const std::int64_t columns = layer_.columns();
  out.resize(static_cast<std::size_t>(chunk.count * columns));
  const float* data = inputs_[chunk.micro_batch].const_data_ptr<float>();
  parallel_for(chunk.count, parameters_.threads, [&](std::int64_t r) {
    const Address& row = addresses_[chunk.micro_batch][static_cast<std::size_t>(chunk.first + r)];
    windows_[chunk.micro_batch].gather_row(data, row.image, row.group, row.position,
                                           out.data() + r * columns);
  });
}

}  // namespace bitfall
