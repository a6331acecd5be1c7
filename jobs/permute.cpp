#include "permute.hpp"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <span>
#include <string>

#include "bitfall/errors.hpp"
#include "bitfall/random.hpp"
#include "io/files/bounded_json.hpp"
#include "io/files/sha256.hpp"
#include "src/quantization/permutation.hpp"

namespace bitfall {

namespace {

/// Beyond this many columns the second moments would take more than 256 MiB; such a layer follows along.
constexpr std::int64_t most_columns = 8192;
constexpr std::int64_t most_proposals = std::int64_t{1} << 30;

std::vector<ChannelColumns> columns_of(const ChannelGraph& graph, const Layer& layer) {
  std::vector<ChannelColumns> columns;
  for (const ChannelUse& use : graph.uses) {
    if (use.tensor != layer.weight_name || use.axis != 1) continue;
    std::int64_t first = 0;
    for (const ChannelRun& run : use.runs) {
      const std::int64_t width = run.expansion * layer.kernel_elements();
      columns.push_back({run.stream, first, width});
      first += width * graph.streams.at(run.stream).channels;
    }
  }
  return columns;
}

/// One image whose values look random, the same everywhere.
at::Tensor noise(const std::vector<std::int64_t>& image_shape) {
  std::vector<std::int64_t> shape = {1};
  shape.insert(shape.end(), image_shape.begin(), image_shape.end());
  at::Tensor image = at::empty(shape, at::kFloat);
  float* values = image.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < image.numel(); ++i)
    values[i] = float(random_below(0, 0, std::uint64_t(i), 2'000'001)) * 2e-6F - 2.0F;
  return image;
}

/// max |a - b| / max |a|; 0 for equal ones.
double relative_difference(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor left = a.to(at::kCPU, at::kDouble).contiguous(),
                   right = b.to(at::kCPU, at::kDouble).contiguous();
  double difference = 0, largest = 0;
  for (std::int64_t i = 0; i < left.numel(); ++i) {
    const double value = left.const_data_ptr<double>()[i];
    const double distance = std::abs(value - right.const_data_ptr<double>()[i]);
    difference = std::isfinite(distance) ? std::max(difference, distance) : INFINITY;
    largest = std::max(largest, std::abs(value));
    if (difference == INFINITY) break;
  }
  return difference == 0 ? 0 : difference / largest;
}

std::string digest(const ChannelOrders& orders) {
  std::string text;
  for (const auto& order : orders) {
    for (const std::int64_t place : order) text += std::to_string(place) + " ";
    text += "|";
  }
  return to_hex(sha256(text)).substr(0, 16);
}

void report(const FoundPermutation& found, const ChannelGraph& graph, Reporter& reporter) {
  double gain = 0;
  for (const PermutedLayerReport& layer : found.layers) {
    reporter.event("permuted", {{"layer", layer.name}, {"before", layer.before}, {"after", layer.after}});
    gain += layer.before - layer.after;
  }
  std::size_t moved = 0;
  for (const auto& order : found.orders) moved += order.empty() ? 0 : 1;
  char text[160];
  std::snprintf(text, sizeof text,
                "permuted %zu of %zu streams of channels; log det / d of %zu layers falls by %.3f", moved,
                graph.streams.size(), found.layers.size(),
                found.layers.empty() ? 0 : gain / double(found.layers.size()));
  reporter.info(text);
}

}  // namespace

void add_permute_options(CLI::App& job, PermuteOptions& options) {
  job.add_flag(
      "--permute,!--no-permute", options.permute,
      "put channels into an order under which blocks are easier to quantize, wherever layers can follow");
  job.add_option("--permute-proposals", options.proposals,
                 "of --permute: swaps that are tried, for each channel")
      ->check(CLI::Range(std::int64_t{0}, most_proposals))
      ->capture_default_str();
}

NetworkPermutation find_network_permutation(const Network& network,
                                            const std::vector<PermutableLayer>& layers,
                                            const PermuteOptions& options, std::uint64_t seed,
                                            JobContext& context) {
  NetworkPermutation result;
  result.graph = find_channels(network);
  PermutationProblem problem;
  for (const ChannelStream& stream : result.graph.streams)
    problem.channels.push_back(stream.obstacle.empty() ? stream.channels : 0);
  std::vector<at::Tensor> weights;  // what the spans look at
  for (const PermutableLayer& wanted : layers) {
    const auto layer = std::find_if(network.layers().begin(), network.layers().end(),
                                    [&](const Layer& l) { return l.weight_name == wanted.weight_name; });
    BITFALL_ASSERT(layer != network.layers().end(), wanted.weight_name);
    std::vector<ChannelColumns> columns = columns_of(result.graph, *layer);
    if (columns.empty() || layer->columns() > most_columns) continue;
    weights.push_back(network.tensor(layer->weight_name).to(at::kFloat).contiguous());
    const std::span values(weights.back().const_data_ptr<float>(),
                           static_cast<std::size_t>(layer->elements()));
    problem.layers.push_back({wanted.name, values, layer->rows(), wanted.d, wanted.k, std::move(columns)});
  }
  const PermutationParameters parameters{
      .proposals = options.proposals, .seed = seed, .threads = context.threads};
  FoundPermutation found = find_permutation(problem, parameters, context.communicator);
  report(found, result.graph, context.reporter);
  result.orders = std::move(found.orders);
  result.description = {{"seed", seed}, {"proposals", options.proposals}, {"digest", digest(result.orders)}};
  return result;
}

nlohmann::json channels_json(const ChannelGraph& graph) {
  nlohmann::json json = {{"free", nlohmann::json::array()}, {"fixed", nlohmann::json::array()}};
  for (const ChannelStream& stream : graph.streams) {
    if (stream.obstacle.empty())
      json["free"].push_back(stream.channels);
    else
      json["fixed"].push_back({{"channels", stream.channels}, {"obstacle", stream.obstacle}});
  }
  return json;
}

std::string channels_text(const ChannelGraph& graph) {
  std::string text;
  std::size_t free = 0;
  for (const ChannelStream& stream : graph.streams) {
    free += stream.obstacle.empty() ? 1 : 0;
    if (!stream.obstacle.empty())
      text += "  " + std::to_string(stream.channels) + " channels stay in order: " + stream.obstacle + "\n";
  }
  return std::to_string(free) + " of " + std::to_string(graph.streams.size()) +
         " streams of channels can be permuted\n" + text;
}

std::vector<PermutableLayer> permutable_layers(const Plan& plan) {
  std::vector<PermutableLayer> layers;
  for (const LayerPlan& planned : plan.layers) {
    if (planned.quantized)
      layers.push_back({planned.layer.name, planned.layer.weight_name, planned.d, planned.k});
  }
  return layers;
}

bool permute_network(Network& network, const NetworkPermutation& permutation,
                     const std::vector<std::int64_t>& image_shape, JobContext& context) {
  double difference = 0;
  context.communicator.guarded("permuting channels", [&] {
    const at::NoGradGuard no_grad;
    const at::Tensor before = network.forward(noise(image_shape));
    permute_channels(network, permutation.graph, permutation.orders);
    difference = relative_difference(before, network.forward(noise(image_shape)));
  });
  difference = context.communicator.max(difference);
  // Rounding alone stays below 1e-5; a channel in a wrong place changes the first digit.
  constexpr double most = 1e-3;
  if (difference < most) return true;
  ChannelOrders back(permutation.orders.size());
  for (std::size_t s = 0; s < back.size(); ++s) {
    back[s].resize(permutation.orders[s].size());
    for (std::size_t i = 0; i < back[s].size(); ++i)
      back[s][static_cast<std::size_t>(permutation.orders[s][i])] = static_cast<std::int64_t>(i);
  }
  permute_channels(network, permutation.graph, back);
  context.reporter.warning("permuted channels change the network's outputs by " + std::to_string(difference) +
                           " of the largest, more than rounding can; it is compressed without --permute");
  return false;
}

std::optional<NetworkPermutation> repeat_permutation(const Archive& archive, const Network& teacher,
                                                     JobContext& context) {
  const nlohmann::json plan = parse_bounded_json(archive.plan_json);
  if (!plan.is_object() || !plan.contains("permutation")) return std::nullopt;
  const nlohmann::json& kept = plan.at("permutation");
  const auto number = [&](const char* key, std::uint64_t most) {
    if (!kept.is_object() || !kept.contains(key) || !kept.at(key).is_number_unsigned() ||
        kept.at(key).get<std::uint64_t>() > most)
      throw DataError(std::string("the archive's permutation has no sound '") + key + "'");
    return kept.at(key).get<std::uint64_t>();
  };
  std::vector<PermutableLayer> layers;
  for (const QuantizedLayer& layer : archive.layers)
    layers.push_back({layer.name, layer.weight_name, layer.d, layer.k});
  const PermuteOptions options{.permute = true,
                               .proposals = static_cast<std::int64_t>(number("proposals", most_proposals))};
  NetworkPermutation found = find_network_permutation(
      teacher, layers, options, number("seed", std::numeric_limits<std::uint64_t>::max()), context);
  if (found.description != kept) {
    throw DataError(
        "the order of the archive's channels can't be found again from the teacher: give the network that "
        "was "
        "compressed, on the same kind of processor");
  }
  return found;
}

}  // namespace bitfall
