// What entropy coding costs beside packing bits, for as many codes as ResNet-50 with small blocks has. Usage:
// codes_bench
//
// Encoding chooses a frequency table, which encode_codes does 5 to 9 times; packing is a part of it, too.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

#include "bitfall/coded_codes.hpp"
#include "bitfall/quantized_layer.hpp"

using namespace bitfall;

namespace {

using Clock = std::chrono::steady_clock;

template <class Work>
double seconds(const Work& work) {
  const auto begin = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

/// Codes whose frequencies spread as those of k-means do: a third around their mean.
std::vector<std::uint16_t> codes_of(std::size_t count, std::int64_t k) {
  std::mt19937_64 random(1);
  std::normal_distribution<double> normal(0, 0.33);
  std::vector<double> weights(static_cast<std::size_t>(k));
  for (double& weight : weights) weight = std::exp(normal(random));
  std::discrete_distribution<int> draw(weights.begin(), weights.end());
  std::vector<std::uint16_t> codes(count);
  for (std::uint16_t& code : codes) code = static_cast<std::uint16_t>(draw(random));
  return codes;
}

void measure(std::size_t count, std::int64_t k) {
  const std::vector<std::uint16_t> codes = codes_of(count, k);
  const int bits = code_bits(k);
  const std::vector<std::uint8_t> packed = pack_codes(codes, bits);
  const CodedCodes coded = encode_codes(codes, k);
  const auto n = static_cast<std::int64_t>(count);
  std::vector<double> pack, encode, unpack, decode;
  for (int run = 0; run < 15; ++run) {
    pack.push_back(seconds([&] { (void)pack_codes(codes, bits); }));
    encode.push_back(seconds([&] { (void)encode_codes(codes, k); }));
    unpack.push_back(seconds([&] { (void)unpack_codes(packed, n, bits); }));
    decode.push_back(seconds([&] {
      if (decode_codes(coded.coding, coded.bytes, n, k) != codes) std::printf("decoded otherwise\n");
    }));
  }
  std::printf("%9zu %6lld %8s %9.2f %% %9.1f %9.1f %9.1f %9.1f %9.2f %9.2f\n", count,
              static_cast<long long>(k), to_string(coded.coding).data(),
              100 * double(coded.bytes.size()) / double(packed.size()), 1e3 * median(pack),
              1e3 * median(encode), 1e3 * median(unpack), 1e3 * median(decode), median(encode) / median(pack),
              median(decode) / median(unpack));
}

}  // namespace

int main() {
  std::printf("%9s %6s %8s %11s %9s %9s %9s %9s %9s %9s\n", "codes", "k", "coding", "of packed", "pack ms",
              "encode ms", "unpack ms", "decode ms", "encode/..", "decode/..");
  for (const std::int64_t k : {256, 2048}) measure(4'900'000, k);  // ResNet-50, small blocks
  measure(4'096, 256);                                             // a layer of ResNet-20
  return 0;
}
