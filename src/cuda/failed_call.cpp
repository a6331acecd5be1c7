#include <unistd.h>

#include <array>

#include "bitfall/errors.hpp"
#include "cuda/device.hpp"

namespace bitfall::cuda {

void throw_failed_call(const std::string& call, int rank, const std::string& problem) {
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  throw ClusterError(call + " failed on rank " + std::to_string(rank) + " (" + host.data() + "): " + problem +
                     "; --device cpu runs without a device");
}

}  // namespace bitfall::cuda
