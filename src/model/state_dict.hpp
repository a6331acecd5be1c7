#pragma once
#include <string>

#include "bitfall/network.hpp"

namespace bitfall {

/// All parameters and buffers as the file that `torch.save(module.state_dict())` would make: a plain dict of
/// tensors, which `torch.load(..., weights_only=True)` accepts.
[[nodiscard]] std::string save_state_dict(const Network& network);

}  // namespace bitfall
