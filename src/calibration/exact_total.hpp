#pragma once
#include <vector>

#include "bitfall/communicator.hpp"

namespace bitfall {

/// parts[i] is micro-batch i's contribution, all of one length. Returns their sum over all micro-batches of all ranks,
/// formed in integers: it does not depend on how many ranks there are (collective).
/// `length`: of a contribution, for ranks that have none.
[[nodiscard]] std::vector<double> exact_total(const std::vector<std::vector<double>>& parts, std::size_t length,
                                              const Communicator& communicator);

}  // namespace bitfall
