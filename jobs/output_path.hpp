#pragma once
#include <string>

#include "bitfall/communicator.hpp"

namespace bitfall {

/// Fails early, before hours of work: throws IoError when the folder of `path` does not exist or can't be
/// written, or `path` is a folder (collective; rank 0 looks).
void require_writable(const std::string& path, const Communicator& communicator);

}  // namespace bitfall
