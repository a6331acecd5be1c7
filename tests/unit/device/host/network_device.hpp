#pragma once
/// Where the tests of this folder run networks: on copies of their tensors that the host has too. tests/gpu
/// has another header of this name, so that the same tests run on a real device.
#include <string>

namespace bitfall::test {

inline std::string network_device() {
  return "cpu";
}
/// How far results may be from the host's, relative to their magnitude.
inline constexpr double tolerance = 0;

}  // namespace bitfall::test
