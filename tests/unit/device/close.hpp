#pragma once
/// Results of host and device beside each other.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include "network_device.hpp"

namespace bitfall::test {

/// Equal up to the device's tolerance, relative to the largest magnitude.
inline bool close(const at::Tensor& found, const at::Tensor& expected, double times = 1) {
  const at::Tensor mine = found.cpu();
  if (mine.sizes() != expected.sizes()) return false;
  if (mine.numel() == 0) return true;
  const double magnitude = expected.abs().max().item<double>();
  return (mine - expected).abs().max().item<double>() <= times * tolerance * magnitude;
}

}  // namespace bitfall::test
