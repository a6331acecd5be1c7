#pragma once
/// Between dense weights and codebooks. No LibTorch here.
#include <cstdint>
#include <span>

namespace bitfall {

/// The gradient of each codeword from the gradient of the dense weight: the mean over its members (paper,
/// equation 9), in the order of the blocks and in double, so the same bits every time.
/// `dense`: n x d; `codes`: n values below k; `gradient`: k x d, overwritten; a codeword without members
/// gets 0. One pass: 4 bytes read, 2 operations per weight.
void codebook_gradient(std::span<const float> dense, std::span<const std::uint16_t> codes, std::int64_t d,
                       std::span<double> gradient);

/// dense[i d .. i d + d) = codebook[codes[i]], n x d.
void decode_blocks(std::span<const float> codebook, std::span<const std::uint16_t> codes, std::int64_t d,
                   std::span<float> dense);

}  // namespace bitfall
