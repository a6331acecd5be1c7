#include <random>
#include <vector>

#include "catch.hpp"
#include "finetune/codebook_gradient.hpp"

using namespace bitfall;

TEST_CASE("a codeword's gradient is the mean over its members, as the dense one-hot product gives it") {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (const std::int64_t d : {1, 4, 9}) {
    for (const std::size_t k : {std::size_t{1}, std::size_t{5}, std::size_t{64}}) {
      const std::size_t n = 137;
      const auto width = static_cast<std::size_t>(d);
      std::vector<float> dense(n * width);
      for (float& value : dense) value = normal(random);
      std::vector<std::uint16_t> codes(n);
      // The last codeword has no members when there are several.
      for (auto& code : codes) code = static_cast<std::uint16_t>(random() % std::max<std::size_t>(k - 1, 1));
      std::vector<double> found(k * width, 99);
      codebook_gradient(dense, codes, d, found);
      for (std::size_t c = 0; c < k; ++c) {
        for (std::size_t j = 0; j < width; ++j) {
          long double sum = 0;
          std::int64_t members = 0;
          for (std::size_t i = 0; i < n; ++i) {
            if (codes[i] != c) continue;
            sum += dense[i * width + j];
            ++members;
          }
          const double expected = members == 0 ? 0 : static_cast<double>(sum) / static_cast<double>(members);
          REQUIRE(found[c * width + j] == Approx(expected).epsilon(1e-12).margin(1e-15));
        }
      }
    }
  }
}

TEST_CASE("decoding puts each block's codeword in its place") {
  const std::vector<float> codebook = {1, 2, 3, 4, 5, 6};
  const std::vector<std::uint16_t> codes = {2, 0, 0, 1};
  std::vector<float> dense(8);
  decode_blocks(codebook, codes, 2, dense);
  REQUIRE(dense == std::vector<float>{5, 6, 1, 2, 1, 2, 3, 4});
}
