// The blockwise M-step: sums that only follow what has moved are those made anew, bit for bit.
#include "quantization/blockwise_update.hpp"

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "catch.hpp"

using namespace bitfall;

namespace {

std::vector<double> random_grams(std::int64_t positions, std::int64_t d, std::mt19937& random) {
  std::normal_distribution<double> normal;
  std::vector<double> grams;
  for (std::int64_t j = 0; j < positions; ++j) {
    std::vector<double> a(std::size_t(d * d));
    for (double& value : a) value = j == 1 ? 0 : normal(random);  // one dead position
    for (std::int64_t i = 0; i < d; ++i)
      for (std::int64_t l = 0; l < d; ++l) {
        double sum = 0;
        for (std::int64_t m = 0; m < d; ++m) sum += a[std::size_t(i * d + m)] * a[std::size_t(l * d + m)];
        grams.push_back(sum);
      }
  }
  return grams;
}

/// A tie every now and then.
double random_number(double largest, std::mt19937& random) {
  const double value = largest * (2 * std::generate_canonical<double, 53>(random) - 1);
  return random() % 4 == 0 ? std::floor(value) + 0.5 : value;
}

}  // namespace

TEST_CASE("changes add what llrint makes of each product") {
  std::mt19937 random(41);
  for (const std::int64_t d : {1, 3, 4, 5, 8, 9, 16, 18, 25}) {
    // Numbers that fill 62 bits, that need halves to be rounded, and that are tiny.
    for (const double largest : {0x1p61, 0x1p33, 40.0, 1e-300}) {
      INFO("d " << d << ", up to " << largest);
      std::vector<double> entries(std::size_t(d * d));
      for (std::int64_t a = 0; a < d; ++a)
        for (std::int64_t b = 0; b <= a; ++b)
          entries[std::size_t(a * d + b)] = entries[std::size_t(b * d + a)] = random_number(8, random);
      PositionGram gram(d);
      gram.set(entries);
      const SumScales scales{std::ldexp(largest, -9), std::ldexp(largest, -15)};
      const std::int64_t padded = padded_count(d), triangle = gram.padded_triangle();
      for (const double weights : {1.0, 7.0, 40.0, 0.3}) {
        AlignedVector<double> gained(std::size_t(padded), 0.0), lost(gained);
        AlignedVector<std::int64_t> sums(std::size_t(triangle + padded), 3);
        for (std::int64_t i = 0; i < d; ++i) {
          gained[std::size_t(i)] = random_number(4, random);
          lost[std::size_t(i)] = random_number(4, random);
        }
        const double more = weights, less = weights == 7 ? 7 : weights - 1;
        std::vector<std::int64_t> expected(sums.begin(), sums.end());
        std::size_t next = 0;
        for (std::int64_t a = 0; a < d; ++a) {
          for (std::int64_t b = 0; b <= a; ++b, ++next) {
            const double entry = entries[std::size_t(a * d + b)];
            expected[next] +=
                std::llrint(more * entry * scales.matrix) - std::llrint(less * entry * scales.matrix);
          }
          double plus = 0, minus = 0;
          for (std::int64_t b = 0; b < d; ++b) {
            plus += entries[std::size_t(a * d + b)] * gained[std::size_t(b)];
            minus += entries[std::size_t(a * d + b)] * lost[std::size_t(b)];
          }
          expected[std::size_t(triangle + a)] +=
              std::llrint(plus * scales.vector) - std::llrint(minus * scales.vector);
        }
        const ClusterChange change{more, less, gained.data(), lost.data(), sums.data()};
        apply_changes(gram, scales, std::span(&change, 1));
        REQUIRE(std::vector<std::int64_t>(sums.begin(), sums.end()) == expected);
        REQUIRE(gained == AlignedVector<double>(std::size_t(padded), 0.0));
        REQUIRE(lost == gained);
      }
    }
  }
}

TEST_CASE("an update that follows moves gives the codebook of one that begins anew") {
  std::mt19937 random(42);
  const Communicator self = Communicator::self();
  for (const std::int64_t d : {2, 4, 9, 18})
    for (const bool weighed : {false, true}) {
      const std::int64_t rows = 61, positions = 5, k = 12;
      std::vector<float> values(std::size_t(rows * positions * d));
      std::normal_distribution<float> normal(0.0f, 0.1f);
      for (float& value : values) value = normal(random);
      const PositionBlocks blocks({values, rows, d});
      const PositionMetrics metrics(random_grams(positions, d, random), d);
      std::vector<double> given(std::size_t(rows), 1.0);
      if (weighed)
        for (double& weight : given) weight = std::generate_canonical<double, 53>(random);
      const auto row_weights = integer_row_weights(given, rows);
      const BlockwiseMembers members{blocks, 1, metrics, row_weights, {0, positions}};
      BlockwiseUpdate follows(members, k, 3);
      std::vector<std::int32_t> codes(std::size_t(rows * positions));
      std::vector<float> codebook(std::size_t(k * d), 0.0f);
      // All at once, some, none, all but one, a cluster that empties and one that is filled again.
      for (const unsigned share : {100U, 10U, 0U, 100U, 3U, 50U}) {
        INFO("d " << d << ", weighed " << weighed << ", " << share << " % moved");
        for (std::int32_t& code : codes)
          if (random() % 100 < share) code = std::int32_t(random() % std::uint32_t(k));
        if (share == 3)
          for (std::int32_t& code : codes) code = code == 5 ? 6 : code;
        std::vector<float> expected = codebook;
        BlockwiseUpdate(members, k, 1).update(codes, expected, self);
        follows.update(codes, codebook, self);
        REQUIRE(codebook == expected);
      }
    }
}
