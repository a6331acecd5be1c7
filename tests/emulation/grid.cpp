#include "emulation/grid.hpp"

#include <algorithm>
#include <numeric>

namespace bitfall::emulation {

Grid& grid() {
  static Grid only;
  return only;
}

void Grid::run(const cuda::LaunchShape& shape, const std::function<void()>& body) {
  constexpr std::int64_t most_blocks = (std::int64_t{1} << 31) - 1, most_batches = 65535;
  if (shape.threads < 1 || shape.threads > 1024 || shape.blocks < 1 || shape.blocks > most_blocks ||
      shape.batches < 1 || shape.batches > most_batches)
    throw KernelError("a grid that no device takes");
  block_size = {static_cast<unsigned>(shape.threads), 1, 1};
  grid_size = {static_cast<unsigned>(shape.blocks), static_cast<unsigned>(shape.batches), 1};
  std::vector<std::int64_t> order(static_cast<std::size_t>(shape.blocks * shape.batches));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  std::shuffle(order.begin(), order.end(), random_);
  for (const std::int64_t index : order) {
    block_index = {static_cast<unsigned>(index % shape.blocks), static_cast<unsigned>(index / shape.blocks),
                   0};
    shared.reset(shape.shared_bytes);
    block.run(static_cast<unsigned>(shape.threads), random_, body);
  }
}

}  // namespace bitfall::emulation
