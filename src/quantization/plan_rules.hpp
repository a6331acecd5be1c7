#pragma once
/// The rules behind a plan: which layers are quantized at all, and the d and k of each when nobody says
/// otherwise.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "bitfall/layer.hpp"
#include "bitfall/plan.hpp"

namespace bitfall {

/// The paper's settings for one family of networks (section 5.1; data of the authors' released files).
struct Preset {
  std::string name;
  std::int64_t k_linear = 0;           ///< codewords of linear layers
  std::int64_t pointwise_d_large = 0;  ///< d of 1x1 convolutions in the large regime
};

/// The preset of that name; `auto` looks at the layers. Throws ConfigError that lists the known names.
[[nodiscard]] Preset choose_preset(const std::string& name, std::span<const Layer> layers);

/// Depthwise: every filter sees one channel only.
[[nodiscard]] bool is_depthwise(const Layer& layer);

/// Why the rules leave `layers[index]` alone although it could be quantized; empty when they don't.
[[nodiscard]] std::string reason_to_leave_alone(std::span<const Layer> layers, std::size_t index);

/// Block sizes to try for a layer, best first.
[[nodiscard]] std::vector<std::int64_t> candidate_block_sizes(const Layer& layer, Regime regime,
                                                              const Preset& preset);

/// Where the search for codewords may start: largest_k(n), or n / 2 where bits have a price and codewords
/// that do not earn it are dropped anyway.
[[nodiscard]] std::int64_t most_k(std::int64_t n, bool bits_have_a_price);

}  // namespace bitfall
