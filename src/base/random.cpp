#include "bitfall/random.hpp"

#include "bitfall/errors.hpp"

namespace bitfall {

namespace {

// The constants of Philox4x32 (Salmon et al., table 2): two multipliers, and a Weyl sequence for the key.
constexpr std::uint64_t kMultiplier0 = 0xD2511F53U;
constexpr std::uint64_t kMultiplier1 = 0xCD9E8D57U;
constexpr std::uint32_t kWeyl0 = 0x9E3779B9U;
constexpr std::uint32_t kWeyl1 = 0xBB67AE85U;
constexpr int kRounds = 10;

std::uint32_t low(std::uint64_t value) {
  return static_cast<std::uint32_t>(value);
}
std::uint32_t high(std::uint64_t value) {
  return static_cast<std::uint32_t>(value >> 32);
}

}  // namespace

std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < kRounds; ++round) {
    const std::uint64_t product0 = kMultiplier0 * counter[0];
    const std::uint64_t product1 = kMultiplier1 * counter[2];
    counter = {high(product1) ^ counter[1] ^ key[0], low(product1), high(product0) ^ counter[3] ^ key[1],
               low(product0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

std::uint64_t random_bits(std::uint64_t seed, std::uint64_t stream, std::uint64_t index) {
  const auto words = philox({low(index), high(index), low(stream), high(stream)}, {low(seed), high(seed)});
  return words[0] | (static_cast<std::uint64_t>(words[1]) << 32);
}

std::uint64_t random_below(std::uint64_t seed, std::uint64_t stream, std::uint64_t index,
                           std::uint64_t bound) {
  BITFALL_ASSERT(bound > 0, "random_below with an empty range");
  // floor(bits * bound / 2^64): Lemire, "Fast random integer generation in an interval", 2019, without its
  // rejection step (a rejection would make the number of draws depend on the draws).
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::uint64_t>((static_cast<Wide>(random_bits(seed, stream, index)) * bound) >> 64);
}

}  // namespace bitfall
