#include "bitfall/errors.hpp"
#include "cuda/open_device.hpp"

namespace bitfall::cuda {

std::string obstacle(const LocalRank& /*local*/) {
  return "this bitfall was built without CUDA (BITFALL_CUDA=OFF, or no toolkit was found)";
}

std::string identity(const LocalRank& /*local*/) {
  return "";
}

std::unique_ptr<ComputeDevice> open_device(const Communicator& /*communicator*/, const LocalRank& /*local*/) {
  throw InternalError("a device was opened in a build without CUDA");
}

}  // namespace bitfall::cuda
