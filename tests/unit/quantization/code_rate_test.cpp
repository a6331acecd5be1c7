// Codes that know what they cost: lengths, drops, and the Lagrangian against brute force.
#include "quantization/code_rate.hpp"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <map>
#include <random>
#include <set>

#include "bitfall/quantized_layer.hpp"
#include "bitfall/quantizer.hpp"
#include "catch.hpp"
#include "full_oracle.hpp"
#include "reference_kmeans.hpp"

using namespace bitfall;
using reference::Kind;

namespace {

/// Bits of codes with these counts by the definition of entropy.
double ideal_bits(const std::vector<std::int64_t>& counts) {
  double n = 0, bits = 0;
  for (const std::int64_t count : counts) n += double(count);
  for (const std::int64_t count : counts)
    for (std::int64_t i = 0; i < count; ++i) bits -= std::log2(double(count) / n);
  return bits;
}

template <class Code>
std::vector<std::int64_t> counts_of(const std::vector<Code>& codes) {
  std::map<std::int64_t, std::int64_t> counts;
  for (const Code code : codes) ++counts[std::int64_t(code)];
  std::vector<std::int64_t> result;
  for (const auto& [code, count] : counts) result.push_back(count);
  return result;
}

/// error + price (bits of codes + size of codebook), from what is stored.
double lagrangian(const std::vector<float>& values, std::int64_t d, const KmeansResult& result,
                  const KmeansParameters& parameters) {
  double error = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto width = std::size_t(d);
    const float c = half_to_float(result.codebook[result.codes[i / width] * width + i % width]);
    error += (double(values[i]) - double(c)) * (double(values[i]) - double(c));
  }
  const auto counts = counts_of(result.codes);
  return error +
         parameters.bit_price * (ideal_bits(counts) + parameters.codeword_bits * double(counts.size()));
}

/// The least Lagrangian of any way to cluster the points: every partition, each cluster with its mean.
double least_lagrangian(const std::vector<float>& values, std::size_t d, double price, double codeword_bits,
                        std::vector<std::size_t>& part, std::size_t parts) {
  const std::size_t n = values.size() / d;
  if (part.size() < n) {
    double best = INFINITY;
    for (std::size_t p = 0; p <= parts; ++p) {
      part.push_back(p);
      best = std::min(best, least_lagrangian(values, d, price, codeword_bits, part, std::max(parts, p + 1)));
      part.pop_back();
    }
    return best;
  }
  double error = 0;
  std::vector<std::int64_t> counts(parts, 0);
  for (const std::size_t p : part) ++counts[p];
  for (std::size_t p = 0; p < parts; ++p)
    for (std::size_t j = 0; j < d; ++j) {
      double sum = 0, squares = 0;
      for (std::size_t i = 0; i < n; ++i) {
        if (part[i] != p) continue;
        sum += double(values[i * d + j]);
        squares += double(values[i * d + j]) * double(values[i * d + j]);
      }
      error += squares - sum * sum / double(counts[p]);
    }
  return error + price * (ideal_bits(counts) + codeword_bits * double(parts));
}

}  // namespace

TEST_CASE("lengths and their cost are those of an ideal coder") {
  std::mt19937 random(1);
  for (int trial = 0; trial < 50; ++trial) {
    std::vector<std::int64_t> counts(1 + random() % 40);
    for (auto& count : counts) count = random() % 3 ? std::int64_t(random() % 100) : 0;
    counts.back() = 1 + std::int64_t(random() % 9);
    CodeRate rate(std::int64_t(counts.size()), 0.25, 7);
    CHECK(rate.penalties(1).empty());  // nothing is known yet: all codes cost the same
    rate.update(counts);
    const auto used = std::count_if(counts.begin(), counts.end(), [](auto count) { return count > 0; });
    CHECK(rate.codewords_in_use() == used);
    CHECK(rate.cost() == Approx(0.25 * (ideal_bits(counts) + 7 * double(used))));
    const auto penalties = rate.penalties(2);
    double n = 0;
    for (const auto count : counts) n += double(count);
    for (std::size_t c = 0; c < counts.size(); ++c)
      if (counts[c] == 0)
        CHECK(penalties[c] == FLT_MAX);
      else
        CHECK(penalties[c] == Approx(0.5 * 0.25 / 2 * std::log2(n / double(counts[c]))).margin(1e-12));
  }
  CodeRate free(3, 0, 7);
  free.update(std::vector<std::int64_t>{1, 0, 2});
  CHECK(free.cost() == 0);
  CHECK(free.penalties(1).empty());
}

TEST_CASE("alternatives are the best of all other codewords") {
  std::mt19937 random(2);
  for (int trial = 0; trial < 40; ++trial) {
    const std::size_t d = 1 + random() % 10, n = 1 + random() % 150, k = 1 + random() % 20;
    const auto values = reference::make_blocks(Kind::normal, n, d, random);
    const auto width = std::int64_t(d);
    const Whitening identity = Whitening::identity(width);
    const KmeansInput input{values, width, identity, measure_blocks(values, width)};
    const TiledBlocks points = tile_blocks(input, 0, std::int64_t(n), 1);
    std::vector<float> codebook = reference::make_blocks(Kind::normal, k, d, random);
    for (float& value : codebook) value *= 20;
    std::vector<float> penalties(k);
    for (float& penalty : penalties) penalty = random() % 4 ? float(random() % 100) * 0.01f : FLT_MAX;
    std::vector<std::int32_t> codes(n);
    for (auto& code : codes) code = std::int32_t(random() % k);
    penalties[std::size_t(codes[0])] = 0;
    const auto found = find_alternatives(points, codebook, penalties, 3.0, codes, 1 + trial % 3);
    std::vector<float> whitened(values.size());
    input.whiten(values, whitened);
    for (std::size_t i = 0; i < n; ++i) {
      if (penalties[std::size_t(codes[i])] == FLT_MAX) continue;  // no block has a dropped code
      const auto cost = [&](std::size_t c) {
        double sum = 2 * double(penalties[c]);
        for (std::size_t j = 0; j < d; ++j) {
          const double e = double(whitened[i * d + j]) - double(codebook[c * d + j]);
          sum += e * e;
        }
        return sum;
      };
      double best = INFINITY;
      for (std::size_t c = 0; c < k; ++c)
        if (std::int32_t(c) != codes[i] && penalties[c] != FLT_MAX) best = std::min(best, cost(c));
      REQUIRE(found[i].code == codes[i]);
      REQUIRE((found[i].other < 0) == std::isinf(best));
      if (std::isinf(best)) continue;
      REQUIRE(found[i].other != codes[i]);
      REQUIRE(cost(std::size_t(found[i].other)) == Approx(best).epsilon(1e-4).margin(1e-4));
      REQUIRE(found[i].loss == Approx(3.0 * (best - cost(std::size_t(codes[i])))).epsilon(1e-3).margin(1e-3));
    }
  }
}

TEST_CASE("what is dropped lowers the Lagrangian, and nobody moves to a dropped codeword") {
  std::mt19937 random(3);
  constexpr double price = 0.1, codeword_bits = 4;
  std::int64_t dropped_in_all = 0;
  for (int trial = 0; trial < 300; ++trial) {
    const std::size_t k = 1 + random() % 12, n = 1 + random() % 60;
    std::vector<std::int32_t> codes(n);
    for (auto& code : codes) code = std::int32_t(random() % k);
    const std::set<std::int32_t> used(codes.begin(), codes.end());
    const std::vector<std::int32_t> live(used.begin(), used.end());
    const auto length = [&](std::int32_t code) {
      return std::log2(double(n) / double(std::count(codes.begin(), codes.end(), code)));
    };
    std::vector<Alternative> all(n);
    std::vector<double> errors(n);  // of taking the alternative
    for (std::size_t i = 0; i < n; ++i) {
      all[i].code = codes[i];
      all[i].other = -1;
      if (live.size() == 1) continue;
      while (all[i].other < 0 || all[i].other == codes[i]) all[i].other = live[random() % live.size()];
      errors[i] = double(random() % 1000) * 0.0005;
      all[i].loss = errors[i] + price * (length(all[i].other) - length(codes[i]));
    }
    CodeRate rate(std::int64_t(k), price, codeword_bits);
    rate.update(codes);
    const double before = rate.cost();
    const std::int64_t dropped = rate.drop(all);
    dropped_in_all += dropped;
    REQUIRE(rate.codewords_in_use() == std::int64_t(live.size()) - dropped);
    REQUIRE(rate.codewords_in_use() >= 1);
    const auto penalties = rate.penalties(1);
    double loss = 0;
    std::vector<std::int32_t> after(codes);
    for (std::size_t i = 0; i < n; ++i) {
      if (penalties[std::size_t(codes[i])] != FLT_MAX) continue;
      loss += errors[i];
      after[i] = all[i].other;
      REQUIRE(penalties[std::size_t(after[i])] != FLT_MAX);
    }
    rate.update(after);
    if (dropped > 0) REQUIRE(loss + rate.cost() < before);
    if (dropped > 0) continue;
    for (const std::int32_t code : live) {  // no single one would have paid
      std::vector<std::int32_t> without(codes);
      double error = 0;
      bool possible = true;
      for (std::size_t i = 0; i < n; ++i) {
        if (codes[i] != code) continue;
        possible = possible && all[i].other >= 0;
        without[i] = all[i].other;
        error += errors[i];
      }
      if (!possible) continue;
      CodeRate other(std::int64_t(k), price, codeword_bits);
      other.update(without);
      REQUIRE(error + other.cost() >= before - 1e-9);
    }
  }
  CHECK(dropped_in_all > 100);
}

TEST_CASE("k-means with a price finds the least Lagrangian of all partitions of a small set") {
  std::mt19937 random(4);
  int equal = 0;
  constexpr int trials = 30;
  for (int trial = 0; trial < trials; ++trial) {
    const std::size_t d = 1 + random() % 3, n = 5 + random() % 3;
    const auto values = reference::make_blocks(Kind::normal, n, d, random);
    KmeansParameters parameters;
    parameters.k = std::int64_t(n);
    parameters.bit_price = 0.0025 * double(d) * std::pow(4.0, double(random() % 3) - 1);
    parameters.codeword_bits = double(random() % 4);
    std::vector<std::size_t> part;
    const double least = least_lagrangian(values, d, parameters.bit_price, parameters.codeword_bits, part, 0);
    double best = INFINITY;
    for (parameters.seed = 0; parameters.seed < 10; ++parameters.seed) {
      const auto found = kmeans(values, std::int64_t(d), Whitening::identity(std::int64_t(d)), parameters,
                                Communicator::self());
      const double j = lagrangian(values, std::int64_t(d), found, parameters);
      REQUIRE(found.iterations.back().objective == Approx(j).epsilon(1e-4));
      REQUIRE(j >= least * (1 - 1e-4));
      best = std::min(best, j);
    }
    if (best <= least * (1 + 1e-3)) ++equal;
    REQUIRE(best <= least * 1.5);
  }
  CHECK(equal >= trials / 2);
}

TEST_CASE("the Lagrangian never grows, unused codewords are gone, and a higher price means fewer bits") {
  std::mt19937 random(5);
  for (int trial = 0; trial < 3 * int(Kind::kinds); ++trial) {
    const std::size_t d = 1 + random() % 9, n = 200 + random() % 500;
    const auto values = reference::make_blocks(static_cast<Kind>(trial % int(Kind::kinds)), n, d, random);
    const Whitening whitening = reference::make_whitening(trial % 3, d, random);
    std::vector<float> whitened(values.size());
    whitening.apply(values, whitened);
    double energy = 0;
    for (const float v : whitened) energy += double(v) * double(v);
    double bits_before = INFINITY;
    for (const double price : {1e-5, 1e-4, 1e-3, 1e-1}) {
      KmeansParameters parameters;
      parameters.k = 40;
      parameters.bit_price = price * energy;
      parameters.codeword_bits = 16 * double(d);
      parameters.threads = 1 + trial % 2;
      const auto found = kmeans(values, std::int64_t(d), whitening, parameters, Communicator::self());
      for (std::size_t i = 1; i + 1 < found.iterations.size(); ++i)  // the last one has a rounded codebook
        REQUIRE(found.iterations[i].objective <=
                found.iterations[i - 1].objective * (1 + 1e-5) + 1e-9 * energy);
      const auto counts = counts_of(found.codes);
      REQUIRE(std::int64_t(counts.size()) == found.k);
      REQUIRE(std::int64_t(found.codebook.size()) == found.k * std::int64_t(d));
      REQUIRE(std::size_t(*std::max_element(found.codes.begin(), found.codes.end())) + 1 == counts.size());
      REQUIRE(entropy_bits(found.codes) == Approx(ideal_bits(counts)).margin(1e-9));
      const double bits = ideal_bits(counts) + parameters.codeword_bits * double(found.k);
      if (parameters.bit_price > 0)
        REQUIRE(found.iterations.back().bits_cost == Approx(parameters.bit_price * bits));
      REQUIRE(bits <= bits_before * 1.02 + 1);
      bits_before = bits;
    }
    CHECK(bits_before <= 16 * double(d) + 1e-9);  // at such a price one codeword serves all
  }
}

TEST_CASE("the finer metrics with a price: the Lagrangian is that of the result, and never grows") {
  std::mt19937 random(6);
  for (int trial = 0; trial < 6; ++trial) {
    const oracle::Case given(60 + random() % 90, 2 + random() % 5, 2 + random() % 8, trial % 3 == 0 ? 1 : 0,
                             false, random);
    for (const Metric metric : {Metric::blockwise, Metric::full}) {
      const bool blockwise = metric == Metric::blockwise;
      std::int64_t k_before = 1 << 20;
      for (const double price : {0.0, 1e-5, 1e-4}) {
        QuantizerParameters parameters;
        parameters.kmeans.k = 48;
        parameters.kmeans.codeword_bits = 16 * double(given.d);
        parameters.kmeans.threads = 1 + trial % 2;
        parameters.relative_bit_price = price;
        const auto found =
            quantize_blocks(given.blocks(), metric, given.moments, parameters, Communicator::self());
        std::vector<float> codebook;
        for (const std::uint16_t half : found.kmeans.codebook) codebook.push_back(half_to_float(half));
        const double error = given.objective(codebook, found.kmeans.codes, blockwise,
                                             blockwise ? 0 : QuantizerParameters{}.damping);
        const auto counts = counts_of(found.kmeans.codes);
        INFO(to_string(metric) << " trial " << trial << " price " << price << " k " << found.kmeans.k);
        if (price > 0) REQUIRE(std::int64_t(counts.size()) == found.kmeans.k);
        CHECK(found.relative_error() == Approx(error / found.energy).epsilon(5e-3));
        CHECK(found.kmeans.iterations.back().bits_cost ==
              Approx(price * found.energy *
                     (ideal_bits(counts) + parameters.kmeans.codeword_bits * double(counts.size()))));
        CHECK(found.kmeans.k <= k_before);
        k_before = found.kmeans.k;
        if (price == 0) continue;
        const auto& history = found.kmeans.iterations;
        const std::size_t last = history.size() - (blockwise ? 1 : 2);  // rounded codebooks
        const std::size_t first = blockwise ? 1 : 31;  // full begins after its blockwise start
        for (std::size_t i = first + (blockwise ? 0 : 1); i < last; ++i)
          CHECK(history[i].objective <= history[i - 1].objective * (1 + 1e-4));
      }
    }
  }
}

TEST_CASE("codewords that no code uses are left out") {
  std::vector<std::uint16_t> codebook{1, 2, 3, 4, 5, 6, 7, 8}, codes{3, 1, 3, 1, 1};
  CHECK(compact(codebook, codes, 2) == 2);
  CHECK(codebook == std::vector<std::uint16_t>{3, 4, 7, 8});
  CHECK(codes == std::vector<std::uint16_t>{1, 0, 1, 0, 0});
}
