// Ends with 77, ctest's code for a skipped test, where there is no device, and says why.
#include <cstdio>

#include "cuda/device.hpp"

int main() {
  const bitfall::cuda::VisibleDevices visible = bitfall::cuda::visible_devices();
  if (visible.count > 0) return 0;
  std::printf("skipped: no CUDA device: %s\n", visible.problem.c_str());
  return 77;
}
