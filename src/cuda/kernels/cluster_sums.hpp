#pragma once
/// The M-step's sums on the device.
#include <cstdint>

#include "cuda/device.hpp"

namespace bitfall::cuda {

struct ClusterSumsArguments {
  const float* blocks = nullptr;        ///< [points][d], not whitened
  const std::int32_t* codes = nullptr;  ///< of this E-step
  const float* errors = nullptr;
  std::int32_t* previous = nullptr;  ///< codes of the E-step before, -1 for none; becomes `codes`
  std::int64_t* sums = nullptr;      ///< [k][d + 1]: coordinates and a count; kept up to date
  std::int64_t* totals = nullptr;    ///< [2]: sum of errors, points that moved; added to
  std::int64_t points = 0;           ///< without the padding; codes, errors and previous have it
  std::int64_t d = 0;
  std::int64_t k = 0;
  double coordinate_scale = 1;  ///< powers of two: values are summed as round-half-even(value * scale)
  double error_scale = 1;
};

/// Moves each point whose code changed from the sums of its old cluster to those of its new one. Integers:
/// any order gives the same bits as the twin, ClusterWork of cpu_backend(). Bytes: 12 a point, and 4 d + 16
/// (d + 1) of atomic additions for one that moves.
void update_cluster_sums(const ClusterSumsArguments& arguments, const Device& device);

}  // namespace bitfall::cuda
