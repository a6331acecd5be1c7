#include "finetune/codebook_gradient.hpp"

#include <algorithm>
#include <vector>

#include "bitfall/errors.hpp"

namespace bitfall {

void codebook_gradient(std::span<const float> dense, std::span<const std::uint16_t> codes, std::int64_t d,
                       std::span<double> gradient) {
  const auto width = static_cast<std::size_t>(d);
  BITFALL_ASSERT(dense.size() == codes.size() * width, "one code for each block");
  std::fill(gradient.begin(), gradient.end(), 0.0);
  std::vector<std::int64_t> members(gradient.size() / width, 0);
  const float* block = dense.data();
  for (const std::uint16_t code : codes) {
    ++members[code];
    // g_c += dL/dv
    double* sum = gradient.data() + code * width;
    for (std::size_t i = 0; i < width; ++i) sum[i] += double(block[i]);
    block += width;
  }
  for (std::size_t c = 0; c < members.size(); ++c) {
    if (members[c] == 0) continue;
    // g_c /= |members|
    for (std::size_t i = 0; i < width; ++i) gradient[c * width + i] /= static_cast<double>(members[c]);
  }
}

void decode_blocks(std::span<const float> codebook, std::span<const std::uint16_t> codes, std::int64_t d,
                   std::span<float> dense) {
  const auto width = static_cast<std::size_t>(d);
  BITFALL_ASSERT(dense.size() == codes.size() * width, "one code for each block");
  float* block = dense.data();
  for (const std::uint16_t code : codes) {
    std::copy_n(codebook.data() + code * width, width, block);
    block += width;
  }
}

}  // namespace bitfall
