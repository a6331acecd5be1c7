#pragma once
/// Which of the ranks on its host this one is: a rank's number there is the number of its device.
#include "bitfall/communicator.hpp"

namespace bitfall {

struct LocalRank {
  int rank = 0;  ///< 0 ... size - 1 in the order of the world's ranks
  int size = 1;  ///< ranks that share the host's memory
};
/// `world` is the group of all ranks (collective), or a rank alone.
[[nodiscard]] LocalRank local_rank(const Communicator& world);

}  // namespace bitfall
