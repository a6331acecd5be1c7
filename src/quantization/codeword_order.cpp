#include "quantization/codeword_order.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

namespace bitfall {

void order_codewords(KmeansResult& result) {
  const auto k = static_cast<std::size_t>(result.k);
  const std::size_t d = result.codebook.size() / k;
  std::vector<std::int64_t> counts(k);
  for (const std::uint16_t code : result.codes) ++counts[code];
  std::vector<std::uint16_t> old_code(k);
  std::iota(old_code.begin(), old_code.end(), std::uint16_t{0});
  std::stable_sort(old_code.begin(), old_code.end(),
                   [&](std::uint16_t a, std::uint16_t b) { return counts[a] > counts[b]; });
  std::vector<std::uint16_t> new_code(k);
  std::vector<std::uint16_t> codebook;
  codebook.reserve(result.codebook.size());
  for (std::size_t i = 0; i < k; ++i) {
    new_code[old_code[i]] = static_cast<std::uint16_t>(i);
    const auto codeword = result.codebook.begin() + static_cast<std::ptrdiff_t>(old_code[i] * d);
    codebook.insert(codebook.end(), codeword, codeword + static_cast<std::ptrdiff_t>(d));
  }
  result.codebook = std::move(codebook);
  for (std::uint16_t& code : result.codes) code = new_code[code];
}

}  // namespace bitfall
