#pragma once
/// Second moments of groups of d unfolded columns, without an unfolded input in memory.
#include <cstdint>

#include "cuda/device.hpp"
#include "parallel/array_work.hpp"

namespace bitfall::cuda {

struct BlockMomentsArguments {
  RowWindow window;
  std::int64_t images = 0, groups = 1;
  std::int64_t d = 0;           ///< divides window.columns()
  double* partial = nullptr;    ///< scratch: [images groups][D / d][d (d + 1) / 2]
  double* triangles = nullptr;  ///< [D / d][d (d + 1) / 2]
};

/// triangles[j][(a, b)] = sum over images, groups and positions of x_{jd+a} x_{jd+b}, a <= b. Float sums over
/// up to 256 positions, double beyond, in one order: the same bits every time. Work: D (d + 1) / 2
/// multiply-adds a position; bytes: 4 D a position, from caches where windows overlap.
void block_moments(const BlockMomentsArguments& arguments, const Device& device);

}  // namespace bitfall::cuda
