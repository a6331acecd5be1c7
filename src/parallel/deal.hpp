#pragma once
/// Pieces of unequal work dealt to ranks.
#include <cstdint>
#include <span>
#include <vector>

namespace bitfall {

/// The rank of each piece: longest first, each to the rank with the least work so far (Graham 1969: at most
/// 4/3 of the best). Ties go to the lower index and the lower rank. deal({5, 9, 4}, 2) -> {1, 0, 1}.
[[nodiscard]] std::vector<int> deal(std::span<const double> costs, int ranks);

}  // namespace bitfall
