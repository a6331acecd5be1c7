#pragma once
/// The E-step on the device.
#include <cstdint>

#include "cuda/device.hpp"

namespace bitfall::cuda {

/// Floats of one row of the device's codeword table: h_c, c_0 ... c_(d-1), zeros; whole vectors of 16 bytes.
[[nodiscard]] constexpr std::int64_t table_stride(std::int64_t d) {
  return (d + 1 + 3) / 4 * 4;
}
/// Rows come in such groups; those beyond k have h = FLT_MAX and never win.
constexpr std::int64_t table_group = 8;
/// Points come in whole groups (quantization/kmeans_blocks.hpp), tiles of sixteen side by side.
constexpr std::int64_t device_tile_points = 16;

/// `batches` independent problems of the same size, one behind the other in every array.
struct AssignArguments {
  const float* tiles = nullptr;   ///< [batches][points / 16][d][16]
  const float* table = nullptr;   ///< [batches][codewords][table_stride(d)]
  std::int32_t* codes = nullptr;  ///< [batches][points]
  float* errors = nullptr;        ///< [batches][points]
  std::int64_t points = 0;        ///< with the padding, a multiple of 64
  std::int64_t d = 0;
  std::int64_t codewords = 0;  ///< a multiple of table_group
  std::int64_t batches = 1;
};

/// For each point v the code argmin_c h_c - <v, c>, the score being
///   fma(-v_(d-1), c_(d-1), ... fma(-v_0, c_0, h_c)),
/// ties to the lowest index, and the error fma(e_(d-1), e_(d-1), ... fma(e_0, e_0, 0)), e = v - c. The twin
/// is assign_groups (quantization/estep.hpp): the same bits. Operations: points * codewords * d fused
/// multiply-adds; bytes: points * (4 d + 8) + blocks * table.
void assign(const AssignArguments& arguments, const Device& device);

}  // namespace bitfall::cuda
