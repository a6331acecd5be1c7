#include "output_weights.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "bitfall/errors.hpp"
#include "bitfall/random.hpp"
#include "src/calibration/partial_sums.hpp"
#include "src/parallel/threads.hpp"

namespace bitfall {

namespace {

/// A step that is looked at: the layer that it computes, and where the layer's rows begin among all rows.
struct Place {
  const Layer& layer;
  std::int64_t step;
  std::size_t first;
};

std::vector<Place> places_of(const Network& network) {
  std::vector<Place> places;
  std::size_t first = 0;
  for (const Layer& layer : network.layers()) {
    if (!layer.obstacle.empty() || layer.steps.empty() || layer.transposed) continue;
    for (const std::int64_t step : layer.steps) {
      const auto direct = network.layer_of_step(step);
      if (direct && &network.layers()[*direct] == &layer)
        places.push_back({layer, step, first});  // else in a loop
    }
    first += static_cast<std::size_t>(layer.rows());
  }
  return places;
}

/// Labels drawn from the rows of softmax(logits), the image's index being the counter.
std::vector<std::int64_t> draw_labels(const at::Tensor& logits, std::int64_t first_image,
                                      std::uint64_t seed) {
  const at::Tensor shares = at::softmax(logits.to(at::kCPU, at::kDouble), 1).contiguous();
  const double* share = shares.const_data_ptr<double>();
  std::vector<std::int64_t> labels;
  for (std::int64_t image = 0; image < shares.size(0); ++image) {
    const std::uint64_t bits =
        random_bits(seed, random_stream::sampled_labels, static_cast<std::uint64_t>(first_image + image));
    double left = std::ldexp(static_cast<double>(bits >> 11), -53);
    std::int64_t label = 0;
    while (label + 1 < shares.size(1) && left >= share[label]) left -= share[label++];
    labels.push_back(label);
    share += shares.size(1);
  }
  return labels;
}

/// sums[r] += sum over images and positions of gradient_r^2; channels are the second dimension of a
/// convolution's output, the last of a linear layer's.
void add_squares(const Layer& layer, const at::Tensor& gradient, std::span<double> sums) {
  const at::Tensor plain = gradient.cpu().contiguous();
  const std::int64_t rows = layer.rows();
  const bool last = layer.kind == LayerKind::linear;
  const std::int64_t length = last ? 1 : plain.numel() / std::max<std::int64_t>(1, plain.size(0)) / rows;
  const float* value = plain.const_data_ptr<float>();
  for (std::int64_t plane = 0; plane * length < plain.numel(); ++plane) {
    double sum = 0;
    for (std::int64_t i = 0; i < length; ++i, ++value) sum += double(*value) * double(*value);
    sums[static_cast<std::size_t>(plane % rows)] += sum;
  }
}

void add_micro_batch(const Network& network, const std::vector<Place>& places, const at::Tensor& images,
                     std::int64_t first_image, std::uint64_t seed, std::span<double> sums) {
  GradientRequest request;
  for (const Place& place : places) request.outputs.push_back(place.step);
  LiveValues values = network.start(images, request);
  for (std::int64_t step = 0; step < network.step_count(); ++step) network.run_step(step, values);
  const c10::AutoGradMode with_gradients(true);
  const at::Tensor logits = network.output(values);
  const auto labels = draw_labels(logits.detach(), first_image, seed);
  const at::Tensor loss = at::cross_entropy_loss(
      logits, network.place(at::tensor(at::ArrayRef<std::int64_t>(labels))), {}, at::Reduction::Sum);
  const auto gradients = network.gradients(values, loss);
  for (std::size_t i = 0; i < places.size(); ++i)
    add_squares(places[i].layer, gradients[i],
                sums.subspan(places[i].first, static_cast<std::size_t>(places[i].layer.rows())));
}

}  // namespace

std::map<std::string, std::vector<double>> measure_output_weights(
    const Network& network, const std::vector<at::Tensor>& micro_batches, std::int64_t first_image,
    const JobContext& context) {
  const std::vector<Place> places = places_of(network);
  if (places.empty()) return {};
  const std::size_t rows = places.back().first + static_cast<std::size_t>(places.back().layer.rows());
  PartialSums partials(micro_batches.size(), rows);
  std::vector<std::int64_t> first{first_image};
  for (const at::Tensor& images : micro_batches) first.push_back(first.back() + images.size(0));
  context.communicator.guarded("output weights", [&] {
    parallel_for(static_cast<std::int64_t>(micro_batches.size()), context.threads, [&](std::int64_t index) {
      const auto i = static_cast<std::size_t>(index);
      add_micro_batch(network, places, micro_batches[i], first[i], context.options.seed, partials.row(i));
    });
    if (!partials.is_finite())
      throw DataError("a gradient for the output weights is NaN or infinite: leave out --output-weights");
  });
  const std::vector<double> total = partials.total(context.communicator);
  std::map<std::string, std::vector<double>> weights;
  for (const Place& place : places) {
    const auto begin = total.begin() + static_cast<std::ptrdiff_t>(place.first);
    weights[place.layer.name] = {begin, begin + place.layer.rows()};
  }
  return weights;
}

}  // namespace bitfall
