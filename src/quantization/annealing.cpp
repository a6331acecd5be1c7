#include "quantization/annealing.hpp"

#include <cmath>
#include <cstddef>
#include <numbers>

#include "bitfall/random.hpp"

namespace bitfall {
namespace {

/// A standard normal number of 64 random bits (Box and Muller, 1958).
double normal_from(std::uint64_t bits) {
  const double u = (static_cast<double>(bits >> 32) + 0.5) * 0x1p-32;  // never 0
  const double v = static_cast<double>(bits & 0xffffffffu) * 0x1p-32;
  return std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * v);
}

}  // namespace

Annealing::Annealing(double sigma, std::int64_t iterations, std::span<const float> blocks, std::int64_t d,
                     std::uint64_t seed, std::uint64_t stream)
    : sigma_(sigma), iterations_(iterations), seed_(seed), stream_(random_stream::annealing + stream) {
  if (!is_on()) return;
  const auto width = static_cast<std::size_t>(d);
  const std::size_t n = blocks.size() / width;
  const auto count = static_cast<double>(n);
  std::vector<double> mean(width, 0.0);
  spread_.assign(width, 0.0);
  for (std::size_t i = 0; i < blocks.size(); ++i) mean[i % width] += double(blocks[i]) / count;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const double difference = double(blocks[i]) - mean[i % width];
    spread_[i % width] += difference * difference / count;
  }
  for (double& spread : spread_) spread = std::sqrt(spread);
}

void Annealing::disturb(std::int64_t done, std::span<const std::int64_t> members,
                        std::span<float> codebook) const {
  if (!is_on() || done >= iterations_) return;
  const double temperature =
      sigma_ * std::sqrt(1 - static_cast<double>(done) / static_cast<double>(iterations_));
  const std::size_t d = spread_.size();
  for (std::size_t i = 0; i < codebook.size(); ++i) {
    const std::int64_t count = members[i / d];
    if (count == 0) continue;
    const auto index = static_cast<std::uint64_t>(done) * codebook.size() + i;
    const double noise = normal_from(random_bits(seed_, stream_, index));
    codebook[i] = static_cast<float>(double(codebook[i]) + temperature * spread_[i % d] * noise /
                                                               std::sqrt(static_cast<double>(count)));
  }
}

}  // namespace bitfall
