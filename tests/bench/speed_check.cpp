// The short bench of CI: ratios of two things measured turn by turn in one process, each with a bar. A check
// fails when the ratio's median lies below its bar by more than the noise of this very run (the range of the
// middle 80 % of its pairs), so that a busy machine widens what it allows and can't fail a good build.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "bench_time.hpp"
#include "fma_peak.hpp"
#include "quantization/assigner.hpp"
#include "random_layer.hpp"

using namespace bitfall;

namespace {

constexpr int pairs = 15;

template <class Work>
double seconds(const Work& work) {
  const double begin = bench::processor_seconds();
  work();
  return bench::processor_seconds() - begin;
}

/// Prints and returns whether the ratios are as good as the bar.
bool check(const std::string& name, std::vector<double> ratios, double bar) {
  std::sort(ratios.begin(), ratios.end());
  const double middle = ratios[ratios.size() / 2];
  const double noise = ratios[ratios.size() * 9 / 10] - ratios[ratios.size() / 10];
  const bool good = middle + noise >= bar;
  std::printf("%-72s %6.2f +- %.2f, bar %.2f%s\n", name.c_str(), middle, noise, bar,
              good ? "" : "   TOO SLOW");
  return good;
}

std::string shape_text(std::int64_t d, std::int64_t k) {
  return "d " + std::to_string(d) + ", k " + std::to_string(k);
}

/// The plain E-step's multiply-adds beside those of a loop that touches only registers.
bool check_share_of_peak(std::int64_t d, std::int64_t k, double bar) {
  const bench::RandomLayer layer(32768, d, k);
  std::vector<std::int32_t> codes(32768);
  std::vector<float> errors(32768);
  std::vector<double> ratios;
  for (int i = 0; i < pairs; ++i) {
    double work = 0;
    const double peak = seconds([&] { work = bench::fma_in_registers(); });
    const double own = seconds([&] {
      assign_groups(layer.points.tiles.data(), layer.points.groups(), layer.table, codes.data(),
                    errors.data());
    });
    ratios.push_back(static_cast<double>(32768 * d * k) / own / (work / peak));
  }
  return check("plain E-step, share of the FMA rate, " + shape_text(d, k), ratios, bar);
}

/// The plain E-step's time beside that of the accelerated one, which starts from the codes of a codebook that
/// lies 2 % away.
bool check_gain(std::int64_t n, std::int64_t d, std::int64_t k, double bar) {
  const bench::RandomLayer layer(n, d, k);
  std::vector<float> moved = layer.codebook, whitened(moved.size());
  for (std::size_t i = 0; i < moved.size(); ++i) moved[i] *= i % 2 == 0 ? 1.02f : 0.98f;
  layer.input.whiten(moved, whitened);
  CodewordTable before(k, d);
  before.set(whitened);
  Assigner assigner(layer.points, k, 1, true);
  const TiledBlocks& points = assigner.points();
  const auto size = static_cast<std::size_t>(points.groups() * group_points);
  std::vector<std::int32_t> expected(size), codes(size);
  std::vector<float> expected_errors(size), errors(size);
  const auto accelerated = [&](const CodewordTable& table) {
    constexpr std::int64_t chunk = 16;
    assigner.prepare(table);
    for (std::int64_t g = 0; g < points.groups(); g += chunk)
      assigner.assign(g, std::min(chunk, points.groups() - g), 0, table, codes.data() + g * group_points,
                      errors.data() + g * group_points);
  };
  std::vector<double> ratios;
  for (int i = 0; i < pairs; ++i) {
    accelerated(before);
    const double fast = seconds([&] { accelerated(layer.table); });
    ratios.push_back(seconds([&] {
                       assign_groups(points.tiles.data(), points.groups(), layer.table, expected.data(),
                                     expected_errors.data());
                     }) /
                     fast);
  }
  if (codes != expected || errors != expected_errors) {
    std::printf("%s: OTHER CODES\n", shape_text(d, k).c_str());
    return false;
  }
  return check("plain E-step's time / accelerated one's, " + shape_text(d, k), ratios, bar);
}

/// A neighbour on the other thread of the core slows one loop more than another for as long as it runs, which
/// no noise within a measurement shows: too slow is what is too slow three times, seconds apart.
template <class Check>
bool confirmed(const Check& check) {
  for (int attempt = 0; attempt < 3; ++attempt) {
    if (attempt > 0) std::this_thread::sleep_for(std::chrono::seconds(3));
    if (check()) return true;
  }
  return false;
}

}  // namespace

int main() {
  bool good = true;
  good &= confirmed([] { return check_share_of_peak(9, 256, 0.55); });
  good &= confirmed([] { return check_share_of_peak(8, 256, 0.55); });
  good &= confirmed([] { return check_share_of_peak(18, 256, 0.50); });

  good &= confirmed([] { return check_gain(65536, 4, 256, 1.4); });
  good &= confirmed([] { return check_gain(65536, 4, 1024, 2.0); });
  good &= confirmed([] { return check_gain(65536, 9, 256, 1.3); });
  good &= confirmed([] { return check_gain(32768, 18, 256, 1.3); });
  return good ? 0 : 1;
}
