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
  std::int64_t k_linear = 0;                 ///< codewords of linear layers
  std::int64_t pointwise_d_large = 0;        ///< d of 1x1 convolutions in the large regime
  std::vector<PlanOverride> overrides = {};  ///< for the layers of this network; the user's come after them
};

/// The preset of that name; `auto` looks at the layers. Throws ConfigError that lists the known names.
[[nodiscard]] Preset choose_preset(const std::string& name, std::span<const Layer> layers);

/// Depthwise: every filter sees one channel only.
[[nodiscard]] bool is_depthwise(const Layer& layer);

/// Why the rules leave `layers[index]` alone although it could be quantized; empty when they don't.
[[nodiscard]] std::string reason_to_leave_alone(std::span<const Layer> layers, std::size_t index);

/// The values of a block in the small regime: a whole kernel where it has at most 9 elements, else whole rows
/// (or planes) of it; of as many channels as it takes to have 4. 1x1 4, 2x2 4, 3x3 9, 5x5 5, 7x7 7, 1x7 7,
/// [3] 6, 3x3x3 9. Linear layers: 4.
[[nodiscard]] std::int64_t natural_block(const Layer& layer);

/// Block sizes to try for a layer, best first.
[[nodiscard]] std::vector<std::int64_t> candidate_block_sizes(const Layer& layer, Regime regime,
                                                              const Preset& preset);

/// Where the search for codewords may start: largest_k(n), or n / 2 where bits have a price and codewords
/// that do not earn it are dropped anyway.
[[nodiscard]] std::int64_t most_k(std::int64_t n, bool bits_have_a_price);

}  // namespace bitfall
