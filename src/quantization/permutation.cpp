#include "quantization/permutation.hpp"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <string_view>
#include <unordered_set>

#include "bitfall/random.hpp"
#include "parallel/deal.hpp"
#include "parallel/threads.hpp"
#include "quantization/block_covariance.hpp"

namespace bitfall {
namespace {

/// + index of the stream of channels: whose turn it is (random.hpp lists who else draws).
constexpr std::uint64_t swap_stream = std::uint64_t{1} << 55;

/// Moving whole blocks changes nothing.
bool cuts_blocks(const PermutedLayer& layer, const ChannelColumns& run) {
  return run.width % layer.d != 0 || run.first % layer.d != 0;
}

bool matters(const PermutedLayer& layer, const ChannelColumns& run, const PermutationProblem& problem) {
  return problem.channels.at(run.stream) > 1 && cuts_blocks(layer, run);
}

/// True when the layer has no more than k different blocks.
bool is_exact(const PermutedLayer& layer) {
  std::unordered_set<std::string_view> different;
  const auto bytes = static_cast<std::size_t>(layer.d) * sizeof(float);
  const auto* first = reinterpret_cast<const char*>(layer.weight.data());
  for (std::size_t at = 0; at < layer.weight.size_bytes(); at += bytes) {
    different.emplace(first + at, bytes);
    if (static_cast<std::int64_t>(different.size()) > layer.k) return false;
  }
  return true;
}

/// The problem without the streams that had better stay.
PermutationProblem without_exact_layers(PermutationProblem problem) {
  for (const PermutedLayer& layer : problem.layers) {
    if (!is_exact(layer)) continue;
    for (const ChannelColumns& run : layer.runs)
      if (cuts_blocks(layer, run)) problem.channels.at(run.stream) = 0;
  }
  return problem;
}

/// Streams that meet in layers, and these layers.
struct Component {
  std::vector<std::size_t> streams, layers;
  double cost = 0;  ///< about the multiply-adds
};

std::vector<Component> components_of(const PermutationProblem& problem,
                                     const PermutationParameters& parameters) {
  std::vector<std::size_t> label(problem.channels.size());
  std::iota(label.begin(), label.end(), std::size_t{0});
  for (const PermutedLayer& layer : problem.layers) {
    std::vector<std::size_t> met;
    for (const ChannelColumns& run : layer.runs)
      if (matters(layer, run, problem)) met.push_back(label[run.stream]);
    for (std::size_t& l : label)
      if (std::find(met.begin(), met.end(), l) != met.end()) l = *std::min_element(met.begin(), met.end());
  }
  std::vector<Component> components(problem.channels.size());
  for (std::size_t i = 0; i < problem.layers.size(); ++i) {
    const PermutedLayer& layer = problem.layers[i];
    const auto run = std::find_if(layer.runs.begin(), layer.runs.end(),
                                  [&](const ChannelColumns& r) { return matters(layer, r, problem); });
    if (run == layer.runs.end()) continue;
    Component& component = components[label[run->stream]];
    component.layers.push_back(i);
    const double columns = double(layer.columns()), d = double(layer.d);
    double tried = 0;
    for (const ChannelColumns& r : layer.runs)
      if (matters(layer, r, problem)) tried += double(parameters.proposals * problem.channels[r.stream]);
    component.cost += double(layer.rows) * columns * columns / 2 + tried * (2 * d * d + d * d * d / 6);
  }
  for (std::size_t stream = 0; stream < label.size(); ++stream)
    components[label[stream]].streams.push_back(stream);
  std::erase_if(components, [](const Component& component) { return component.layers.empty(); });
  return components;
}

/// A layer of a component while streams are reordered.
struct Used {
  const PermutedLayer* layer;
  BlockCovariance covariance;
  double value = 0;  ///< log det / d
  BlockCovariance::State saved = {};
  std::vector<BlockCovariance::Swap> swaps = {};
};

/// The search for the order of one stream.
class StreamSearch {
 public:
  StreamSearch(std::vector<Used>& layers, std::size_t stream, std::int64_t channels)
      : channels_(static_cast<std::size_t>(channels)), stream_(stream) {
    for (Used& layer : layers) {
      Member member{&layer, {}};
      for (const ChannelColumns& run : layer.layer->runs)
        if (run.stream == stream) member.runs.push_back(run);
      if (!member.runs.empty()) members_.push_back(std::move(member));
    }
  }

  [[nodiscard]] bool is_empty() const { return members_.empty() || channels_ < 2; }
  [[nodiscard]] double value() const {
    double sum = 0;
    for (const Member& member : members_) sum += member.used->value;
    return sum;
  }

  /// Hadamard: det(C) is at most the product of the variances, so the variances should be as unequal as they
  /// can be: the channels of the largest variance come first in their blocks, and so on.
  [[nodiscard]] std::vector<std::int64_t> greedy_order() const {
    std::vector<double> variance(channels_, 0.0);
    std::int64_t in_block = 1;  // channels that share a block, in the layer where most do
    for (const Member& member : members_) {
      const BlockCovariance& covariance = member.used->covariance;
      const double total = covariance.total_moment();
      for (const ChannelColumns& run : member.runs) {
        in_block = std::max(in_block, covariance.d() / run.width);
        for (std::size_t c = 0; total > 0 && c < channels_; ++c)
          for (std::int64_t w = 0; w < run.width; ++w)
            variance[c] += covariance.column_moment(column(run, c) + w) / total;
      }
    }
    std::vector<std::int64_t> sorted = identity();
    std::stable_sort(sorted.begin(), sorted.end(), [&](std::int64_t a, std::int64_t b) {
      return variance[static_cast<std::size_t>(a)] > variance[static_cast<std::size_t>(b)];
    });
    std::vector<std::int64_t> order(channels_);
    std::size_t next = 0;
    const auto step = static_cast<std::size_t>(in_block);
    for (std::size_t bucket = 0; bucket < step; ++bucket)
      for (std::size_t place = bucket; place < channels_; place += step) order[place] = sorted[next++];
    return order;
  }

  [[nodiscard]] std::vector<std::int64_t> identity() const {
    std::vector<std::int64_t> order(channels_);
    std::iota(order.begin(), order.end(), std::int64_t{0});
    return order;
  }

  void apply(const std::vector<std::int64_t>& order) {
    for (Member& member : members_) {
      std::vector<std::int64_t> columns = member.used->covariance.order();
      for (const ChannelColumns& run : member.runs) {
        for (std::size_t c = 0; c < channels_; ++c)
          for (std::int64_t w = 0; w < run.width; ++w)
            columns[static_cast<std::size_t>(column(run, c) + w)] = run.first + order[c] * run.width + w;
      }
      member.used->covariance.set_order(std::move(columns));
      member.used->value = value_of(*member.used);
    }
  }

  /// Stochastic local search from the order that was applied: two channels change places if that lowers the
  /// sum.
  void improve(const PermutationParameters& parameters, std::vector<std::int64_t>& order) {
    const std::uint64_t draws = swap_stream + stream_;
    const std::uint64_t proposals = static_cast<std::uint64_t>(parameters.proposals) * channels_;
    for (std::uint64_t t = 0; t < proposals; ++t) {
      const std::uint64_t a = random_below(parameters.seed, draws, 2 * t, channels_);
      std::uint64_t b = random_below(parameters.seed, draws, 2 * t + 1, channels_ - 1);
      b += b >= a ? 1 : 0;
      if (try_swap(a, b)) std::swap(order[a], order[b]);
    }
  }

 private:
  struct Member {
    Used* used;
    std::vector<ChannelColumns> runs;
  };

  [[nodiscard]] static std::int64_t column(const ChannelColumns& run, std::size_t channel) {
    return run.first + static_cast<std::int64_t>(channel) * run.width;
  }
  static double value_of(Used& used) { return used.covariance.log_determinant() / double(used.layer->d); }

  bool try_swap(std::size_t a, std::size_t b) {
    double change = 0;
    values_.clear();
    for (Member& member : members_) {
      Used& used = *member.used;
      used.covariance.save(used.saved);
      used.swaps.clear();
      for (const ChannelColumns& run : member.runs) {
        used.swaps.push_back({column(run, a), column(run, b), run.width});
        used.covariance.swap(used.swaps.back());
      }
      values_.push_back(value_of(used));
      change += values_.back() - used.value;
    }
    constexpr double noticeable = 1e-12;
    const bool better = change < -noticeable;
    for (std::size_t i = 0; i < members_.size(); ++i) {
      Used& used = *members_[i].used;
      if (better)
        used.value = values_[i];
      else
        used.covariance.restore(used.saved, used.swaps);
    }
    return better;
  }

  std::size_t channels_, stream_;
  std::vector<Member> members_;
  std::vector<double> values_;
};

/// What a component's owner finds.
struct Found {
  ChannelOrders orders;          ///< of the component's streams
  std::vector<double> readings;  ///< before and after, of the component's layers
};

Found search(const PermutationProblem& problem, const PermutationParameters& parameters,
             const Component& component) {
  std::vector<Used> layers;
  for (const std::size_t index : component.layers) {
    const PermutedLayer& layer = problem.layers[index];
    layers.push_back({&layer, BlockCovariance(layer.weight, layer.rows, layer.d, parameters.ridge)});
    layers.back().value = layers.back().covariance.log_determinant() / double(layer.d);
  }
  Found found;
  for (const Used& layer : layers) found.readings.push_back(layer.value);
  for (const std::size_t stream : component.streams) {
    StreamSearch search(layers, stream, problem.channels[stream]);
    found.orders.emplace_back();
    if (search.is_empty()) continue;
    // From the greedy order, and kept only if it is better than the order as it was.
    const double before = search.value();
    std::vector<std::int64_t> order = search.greedy_order();
    search.apply(order);
    search.improve(parameters, order);
    if (search.value() < before)
      found.orders.back() = std::move(order);
    else
      search.apply(search.identity());
  }
  for (const Used& layer : layers) found.readings.push_back(layer.value);
  return found;
}

}  // namespace

FoundPermutation find_permutation(const PermutationProblem& given, const PermutationParameters& parameters,
                                  const Communicator& communicator) {
  const PermutationProblem problem = without_exact_layers(given);
  const std::vector<Component> components = components_of(problem, parameters);
  std::vector<double> costs;
  for (const Component& component : components) costs.push_back(component.cost);
  const std::vector<int> owner = deal(costs, communicator.size());
  std::vector<std::size_t> mine;
  for (std::size_t i = 0; i < components.size(); ++i)
    if (owner[i] == communicator.rank()) mine.push_back(i);
  // The longest first, so that threads end together.
  std::stable_sort(mine.begin(), mine.end(),
                   [&](std::size_t a, std::size_t b) { return costs[a] > costs[b]; });
  std::vector<Found> found(components.size());
  communicator.guarded("searching for permutations", [&] {
    parallel_for(static_cast<std::int64_t>(mine.size()), parameters.threads, [&](std::int64_t i) {
      const std::size_t index = mine[static_cast<std::size_t>(i)];
      found[index] = search(problem, parameters, components[index]);
    });
  });
  FoundPermutation result;
  result.orders.resize(problem.channels.size());
  for (std::size_t i = 0; i < components.size(); ++i) {
    const Component& component = components[i];
    found[i].orders.resize(component.streams.size());
    found[i].readings.resize(2 * component.layers.size());
    communicator.broadcast(std::span<double>(found[i].readings), owner[i]);
    for (std::size_t s = 0; s < component.streams.size(); ++s) {
      std::vector<std::int64_t>& order = found[i].orders[s];
      std::int64_t size = static_cast<std::int64_t>(order.size());
      communicator.broadcast(std::span<std::int64_t>(&size, 1), owner[i]);
      order.resize(static_cast<std::size_t>(size));
      communicator.broadcast(std::span<std::int64_t>(order), owner[i]);
      result.orders[component.streams[s]] = std::move(order);
    }
    for (std::size_t l = 0; l < component.layers.size(); ++l) {
      result.layers.push_back({problem.layers[component.layers[l]].name, found[i].readings[l],
                               found[i].readings[component.layers.size() + l]});
    }
  }
  return result;
}

}  // namespace bitfall
