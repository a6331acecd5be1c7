// codeword_order.cpp: another name for each codeword, the same weights.
#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include "bitfall/quantized_layer.hpp"
#include "catch.hpp"
#include "quantization/codeword_order.hpp"

using namespace bitfall;

namespace {

std::vector<float> decoded(const KmeansResult& result, std::int64_t d) {
  QuantizedLayer layer;
  layer.weight_shape = {static_cast<std::int64_t>(result.codes.size()), d};
  layer.d = d;
  layer.k = result.k;
  layer.codebook = result.codebook;
  layer.codes = result.codes;
  return decode(layer);
}

}  // namespace

TEST_CASE("codewords are ordered by use and decode to the same weight") {
  std::mt19937 random(1);
  for (const std::int64_t k : {1, 2, 7, 300}) {
    KmeansResult result;
    result.k = k;
    for (std::int64_t i = 0; i < 3 * k; ++i)
      result.codebook.push_back(float_to_half(static_cast<float>(random() % 1000)));
    for (int i = 0; i < 2000; ++i) {
      const auto most = static_cast<std::uint32_t>(k);
      result.codes.push_back(static_cast<std::uint16_t>(std::max(random() % most, random() % most)));
    }
    const std::vector<float> before = decoded(result, 3);
    order_codewords(result);
    CHECK(decoded(result, 3) == before);
    std::vector<int> counts(static_cast<std::size_t>(k));
    for (const std::uint16_t code : result.codes) ++counts[code];
    CHECK(std::is_sorted(counts.rbegin(), counts.rend()));
    const KmeansResult once = result;
    order_codewords(result);  // equal ones stay where they are
    CHECK(result.codes == once.codes);
    CHECK(result.codebook == once.codebook);
  }
}
